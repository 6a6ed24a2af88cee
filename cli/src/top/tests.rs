//! What `top` shows, drawn on a screen that is only in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    board::{Board, Sort},
    draw::draw,
    history::History,
    keys::{Position, Turn},
};
use crate::{fleet::tests::host, output::Look, style::Palette};
use asyncflow_proto::{
    time::timestamp,
    v1::{GpuProcess, GpuState, Host, RunningTask},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers},
};

const NOW_MS: i64 = 200_000_000;

fn look() -> Look {
    Look { palette: Palette::off(), now_ms: NOW_MS }
}

fn task(id: &str, user: &str, gpu: &str, percent: i32) -> RunningTask {
    RunningTask {
        task_id: id.to_owned(),
        user: user.to_owned(),
        gpus: vec![gpu.to_owned()],
        gpu_utilization_percent: percent,
        cpus: 1.5,
        ..RunningTask::default()
    }
}

/// anna: a GPU in use, a stranger's; berta: lost, with an alarm.
fn hosts() -> Vec<Host> {
    let mut anna = host("w-1", "anna", &["GPU-a", "GPU-b"]);
    anna.report_time = Some(timestamp(NOW_MS - 3_000));
    anna.worker.as_mut().unwrap().running = 1;
    let report = anna.report.as_mut().unwrap();
    report.running = vec![task("train-1-x", "carol", "GPU-a", 97)];
    report.gpus[0].task_ids = vec!["train-1-x".to_owned()];
    for gpu in &mut report.gpus {
        gpu.model = "A30".to_owned();
        gpu.memory_bytes = 24 << 30;
        gpu.set_state(GpuState::Ready);
    }
    report.gpus[0].utilization_percent = 97;
    report.gpus[0].memory_used_bytes = 6 << 30;
    report.gpus[1].set_state(GpuState::Foreign);
    report.gpus[1].memory_used_bytes = 20 << 30;
    report.gpus[1].processes = vec![GpuProcess {
        pid: 4242,
        user: "bob".to_owned(),
        command: "python train.py".to_owned(),
        memory_bytes: 20 << 30,
        since: Some(timestamp(NOW_MS - 2 * 86_400_000)),
        blocks: true,
        ..GpuProcess::default()
    }];
    let mut berta = host("w-2", "berta", &[]);
    berta.worker.as_mut().unwrap().alive = false;
    berta.report_time = Some(timestamp(NOW_MS - 9_000));
    let report = berta.report.as_mut().unwrap();
    report.gpu_provider = "none".to_owned();
    report.alarms = vec!["driver and library do not fit".to_owned()];
    vec![anna, berta]
}

fn board(sort: Sort) -> Board {
    let mut history = History::default();
    history.note(&hosts());
    Board::new(&hosts(), &history, sort, look())
}

fn drawn(board: &Board, position: &mut Position, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, position, false)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn everything_stands_on_one_screen() {
    let picture = drawn(&board(Sort::Place), &mut Position::default(), 132, 26);
    let expected = include_str!("screen.txt");
    assert_eq!(picture.trim_end(), expected.trim_end(), "it is now:\n{picture}");
}

#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (20, 3), (80, 5), (10, 60), (300, 100)] {
        drawn(&board(Sort::Place), &mut Position::default(), width, height);
    }
    let empty = Board::new(&[], &History::default(), Sort::Place, look());
    let picture = drawn(&empty, &mut Position::default(), 120, 20);
    assert!(picture.contains("no host has told of itself yet"), "{picture}");
}

#[test]
fn gpus_are_sorted_as_asked() {
    let first = |sort| board(sort).panes[1].rows[0].cells[0].clone();
    assert_eq!(first(Sort::Place), "anna:0");
    assert_eq!(first(Sort::Utilization), "anna:0");
    assert_eq!(first(Sort::Memory), "anna:1");
    assert_eq!(first(Sort::User), "anna:1", "bob comes before carol");
}

#[test]
fn keys_move_and_quit() {
    let board = board(Sort::Place);
    let mut position = Position::default();
    let key = |code| Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
    assert_eq!(position.take(&key(KeyCode::Tab), &board), Turn::Draw);
    assert_eq!(position.pane, 1);
    for expected in [1, 1] {
        position.take(&key(KeyCode::Down), &board);
        assert_eq!(position.selected[1], expected, "it stops at the last row");
    }
    position.take(&key(KeyCode::Up), &board);
    assert_eq!(position.selected[1], 0);
    position.take(&key(KeyCode::BackTab), &board);
    position.take(&key(KeyCode::BackTab), &board);
    assert_eq!(position.pane, 3);
    assert_eq!(position.take(&key(KeyCode::Char('s')), &board), Turn::Draw);
    assert_eq!(position.sort, Sort::Utilization);
    assert_eq!(position.take(&Event::Resize(80, 24), &board), Turn::Draw);
    assert_eq!(position.take(&key(KeyCode::Char('x')), &board), Turn::Stay);
    assert_eq!(position.take(&key(KeyCode::Char('q')), &board), Turn::Quit);
    let interrupt = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert_eq!(position.take(&interrupt, &board), Turn::Quit);
}

#[test]
fn a_task_that_trespasses_is_an_alarm() {
    let mut hosts = hosts();
    hosts[0].report.as_mut().unwrap().running[0].trespassed_gpus = vec!["GPU-b".to_owned()];
    let board = Board::new(&hosts, &History::default(), Sort::Place, look());
    let row = &board.panes[2].rows[0];
    assert!(row.cells[2].contains("TRESPASSES"), "{row:?}");
    assert_eq!(row.tone, super::board::Tone::Alarm);
    assert_eq!(row.cells[3], "anna:0");
}
