#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| asyncflow_fuzz::cron::check(data));
