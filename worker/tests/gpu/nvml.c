/* In the place of NVIDIA's library, for tests: answers from a file beside itself, NAME.state, of
 * lines that are read anew at every call.
 *
 *   init CODE                                        what nvmlInit gives, e.g. 18
 *   hang                                             calls do not return while this stands there
 *   gpu UUID BUS MEMORY USED PERCENT CELSIUS MILLIWATT
 *                                                    a PERCENT over 100 is not supported, as with MIG
 *   lost GPU-NUMBER                                  its handle is not given
 *   process GPU-NUMBER PID MEMORY PERCENT
 *   xid GPU-NUMBER XID                               told once for each line
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GPUS 8
#define PROCESSES 32

typedef struct { unsigned index; char uuid[96]; char bus[32]; unsigned long long total, used;
                 unsigned percent, celsius, milliwatt; } gpu_t;
typedef struct { unsigned gpu, pid; unsigned long long memory; unsigned percent; } process_t;
typedef struct { int init, hangs, lost, gpus, processes, xids; gpu_t gpu[GPUS];
                 process_t process[PROCESSES]; struct { unsigned gpu, xid; } xid[PROCESSES]; } file_t;

static int told = 0;
static unsigned watched[GPUS + 1];

static void read_once(file_t *f) {
    Dl_info self;
    char path[4096], line[512];
    memset(f, 0, sizeof *f);
    f->lost = -1;
    dladdr((void *)read_once, &self);
    snprintf(path, sizeof path, "%s.state", self.dli_fname);
    FILE *in = fopen(path, "r");
    if (!in) return;
    while (fgets(line, sizeof line, in)) {
        gpu_t *g = &f->gpu[f->gpus < GPUS ? f->gpus : GPUS - 1];
        process_t *p = &f->process[f->processes < PROCESSES ? f->processes : PROCESSES - 1];
        int x = f->xids < PROCESSES ? f->xids : PROCESSES - 1;
        if (sscanf(line, "init %d", &f->init) == 1) continue;
        if (sscanf(line, "lost %d", &f->lost) == 1) continue;
        if (!strncmp(line, "hang", 4)) f->hangs = 1;
        if (sscanf(line, "gpu %95s %31s %llu %llu %u %u %u", g->uuid, g->bus, &g->total, &g->used,
                   &g->percent, &g->celsius, &g->milliwatt) == 7) g->index = f->gpus++;
        if (sscanf(line, "process %u %u %llu %u", &p->gpu, &p->pid, &p->memory, &p->percent) == 4)
            f->processes++;
        if (sscanf(line, "xid %u %u", &f->xid[x].gpu, &f->xid[x].xid) == 2) f->xids++;
    }
    fclose(in);
}

static file_t now(void) {
    file_t f;
    for (read_once(&f); f.hangs; read_once(&f)) usleep(20000);
    return f;
}

/* A handle is the GPU's number and 1. */
static unsigned long number(void *device) { return (unsigned long)device - 1; }

int nvmlInit_v2(void) { return now().init; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "as ordered"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "570.1"); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = now().gpus; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(unsigned long)(index + 1);
    return now().lost == (int)index ? 15 : 0;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    snprintf(text, size, "%s", now().gpu[number(device)].uuid);
    return 0;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    (void)device;
    snprintf(text, size, "NVIDIA Fake 24GB");
    return 0;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;
int nvmlDeviceGetPciInfo_v3(void *device, pci_t *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->bus_id, sizeof info->bus_id, "%s", now().gpu[number(device)].bus);
    return 0;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_t;
int nvmlDeviceGetMemoryInfo_v2(void *device, memory_t *info) {
    gpu_t g = now().gpu[number(device)];
    info->total = g.total;
    info->used = g.used;
    info->free = g.total - g.used;
    info->reserved = 0;
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned rates[2]) {
    rates[0] = rates[1] = now().gpu[number(device)].percent;
    return rates[0] > 100 ? 3 : 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = now().gpu[number(device)].celsius;
    return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatt) {
    *milliwatt = now().gpu[number(device)].milliwatt;
    return 0;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } running_t;
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, running_t *out) {
    file_t f = now();
    unsigned found = 0;
    for (int i = 0; i < f.processes; i++)
        if (f.process[i].gpu == number(device)) {
            if (out && found < *count)
                out[found] = (running_t){f.process[i].pid, f.process[i].memory, ~0u, ~0u};
            found++;
        }
    int fits = out ? found <= *count : found == 0;
    *count = found;
    return fits ? 0 : 7;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, running_t *out) {
    (void)device;
    (void)out;
    *count = 0;
    return 0;
}

typedef struct { unsigned pid; unsigned long long time; unsigned sm, mem, enc, dec; } used_t;
int nvmlDeviceGetProcessUtilization(void *device, used_t *out, unsigned *count, unsigned long long since) {
    file_t f = now();
    unsigned found = 0;
    for (int i = 0; i < f.processes; i++)
        if (f.process[i].gpu == number(device)) {
            if (out && found < *count)
                out[found] = (used_t){f.process[i].pid, since + 1, f.process[i].percent, 0, 0, 0};
            found++;
        }
    int fits = out ? found <= *count : found == 0;
    *count = found;
    return fits ? 0 : 7;
}

/* A set is a place in `watched`, which holds the GPU's number and 1. */
static unsigned sets = 0;
int nvmlEventSetCreate(void **set) { *set = &watched[sets++ % GPUS]; return 0; }
int nvmlEventSetFree(void *set) { (void)set; return 0; }
int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set) {
    if (types != 8) return 2;
    *(unsigned *)set = (unsigned)number(device) + 1;
    return 0;
}

typedef struct { void *device; unsigned long long type, data; unsigned instance, compute; } event_t;
int nvmlEventSetWait_v2(void *set, event_t *event, unsigned timeout_ms) {
    file_t f = now();
    (void)timeout_ms;
    if (told >= f.xids || f.xid[told].gpu + 1 != *(unsigned *)set) return 10;
    *event = (event_t){(void *)(unsigned long)(f.xid[told].gpu + 1), 8, f.xid[told].xid, 0, 0};
    told++;
    return 0;
}
