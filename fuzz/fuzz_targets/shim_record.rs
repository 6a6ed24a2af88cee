#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| asyncflow_fuzz::shim_record::check(data));
