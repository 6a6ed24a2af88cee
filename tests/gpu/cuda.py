#!/usr/bin/env python3
"""A small program for NVIDIA GPUs by the driver alone, for the checks beside it.

    cuda.py see                    what it sees, as JSON
    cuda.py visit FILE SECONDS     computes so long, and notes begin, end and devices in FILE
    cuda.py hold MIB SECONDS       takes so much memory and waits
    cuda.py compute MIB SECONDS    takes so much memory and computes
    cuda.py fault                  writes to an address that is not there
    cuda.py exhaust                takes memory until there is none

A line `ready` is written when memory was taken, or computing began.
"""

import ctypes
import json
import os
import sys
import time

PTX = b"""
.version 6.3
.target sm_75
.address_size 64
.visible .entry spin()
{
    .reg .pred %p; .reg .u64 %begin, %now;
    mov.u64 %begin, %clock64;
again:
    mov.u64 %now, %clock64;
    sub.u64 %now, %now, %begin;
    setp.lt.u64 %p, %now, 50000000;
    @%p bra again;
    ret;
}
.visible .entry fault()
{
    .reg .u64 %a; .reg .u32 %v;
    mov.u64 %a, 1024;
    mov.u32 %v, 1;
    st.global.u32 [%a], %v;
    ret;
}
"""
MIB = 1024 * 1024


class Gpu:
    """The first device that is visible, with a context on it."""

    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.names = {}
        self.check("cuInit", 0)
        device = ctypes.c_int()
        self.check("cuDeviceGet", ctypes.byref(device), 0)
        # The context that PyTorch uses, too.
        context = ctypes.c_void_p()
        self.check("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.check("cuCtxSetCurrent", context)

    def check(self, name, *arguments):
        """Calls it; ends with the error's own name."""
        code = getattr(self.cuda, name)(*arguments)
        if code:
            told = ctypes.c_char_p()
            self.cuda.cuGetErrorName(code, ctypes.byref(told))
            sys.exit("%s: %s" % (name, (told.value or b"?").decode()))

    def take(self, mib):
        """Device memory, until the process ends."""
        address = ctypes.c_uint64()
        self.check("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(mib * MIB))

    def kernel(self, name):
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.check("cuModuleLoadData", ctypes.byref(module), PTX)
        self.check("cuModuleGetFunction", ctypes.byref(function), module, name)
        return function

    def run(self, function):
        """Once, to its end."""
        one, none = ctypes.c_uint(1), ctypes.c_uint(0)
        block = ctypes.c_uint(32)
        grid, threads = (one, one, one), (block, one, one)
        self.check("cuLaunchKernel", function, *grid, *threads, none, None, None, None)
        self.check("cuCtxSynchronize")

    def compute(self, seconds):
        spin, end = self.kernel(b"spin"), time.monotonic() + seconds
        self.run(spin)
        print("ready", flush=True)
        while time.monotonic() < end:
            self.run(spin)


def seen():
    """How many devices there are, by the driver, and what the environment says."""
    cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    code = cuda.cuInit(0)
    if not code:
        cuda.cuDeviceGetCount(ctypes.byref(count))
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ASYNCFLOW_GPUS")
    return {"devices": count.value, **{name: os.environ.get(name) for name in names}}


def main(verb, *words):
    if verb == "see":
        print(json.dumps(seen()))
    elif verb == "visit":
        begin, gpu = time.monotonic(), Gpu()
        gpu.compute(float(words[1]))
        line = json.dumps({"begin": begin, "end": time.monotonic(), **seen()}) + "\n"
        # One write, so that the lines of many do not mix.
        file = os.open(words[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line.encode())
    elif verb in ("hold", "compute"):
        gpu = Gpu()
        gpu.take(int(words[0]))
        if verb == "compute":
            gpu.compute(float(words[1]))
        else:
            print("ready", flush=True)
            time.sleep(float(words[1]))
    elif verb == "fault":
        gpu = Gpu()
        gpu.run(gpu.kernel(b"fault"))
    elif verb == "exhaust":
        gpu = Gpu()
        while True:
            gpu.take(1024)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
