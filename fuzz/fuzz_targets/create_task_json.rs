#![no_main]

use std::panic;

libfuzzer_sys::fuzz_target!(
    // A panic in the parser of expressions ends a thread of its own, and is an answer.
    init: drop(panic::take_hook()),
    |data: &[u8]| asyncflow_fuzz::create_task_json::check(data)
);
