//! What programs write down is read.

use asyncflow_tests::checker::{Mark, What, read_records};

#[test]
fn what_programs_write_is_read() {
    let text = "t-1 1 77 start 0:0\nt-1 1 77 save 1:1\nt-1 1 77 end 1:1\n";
    let read = read_records(text).unwrap_or_default();
    let what: Vec<What> = read.iter().map(|record| record.what).collect();
    let (none, one) = (Mark { step: 0, attempt: 0 }, Mark { step: 1, attempt: 1 });
    assert_eq!(what, [What::Start(none), What::Save(one), What::End(one)]);
    assert_eq!((read[2].line, read[2].pid), (3, 77));
}

#[test]
fn half_a_line_is_told_by_its_number() {
    let told = read_records("t-1 1 77 start 0:0\nt-1 1 7");
    assert_eq!(told, Err("line 2: \"t-1 1 7\" is no record".to_owned()));
}

#[test]
fn a_mark_is_read_from_what_a_program_saved() {
    assert_eq!(Mark::of(b"\"3:2\""), Some(Mark { step: 3, attempt: 2 }));
    assert_eq!(Mark::of(b""), None);
}
