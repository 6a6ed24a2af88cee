//! Every program of asyncflow has its memory from jemalloc: with thousands of calls at hand, that
//! of glibc takes half of the processor (ADR 34).

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
