//! From rows to a screen.

use super::{
    board::{Board, Pane, Tone},
    keys::Position,
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Text},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState},
};

/// Alarms beyond these are counted only.
const ALARMS_MAX: usize = 3;
/// A table's frame and headings.
const FRAME_LINES: usize = 3;
const KEYS: &str = "q quit  tab next table  ↑↓ scroll  s sort";

/// Draws everything; what does not fit scrolls.
pub fn draw(frame: &mut Frame<'_>, board: &Board, position: &mut Position, colours: bool) {
    let alarms = alarm_lines(&board.alarms);
    let mut constraints = vec![Constraint::Length(u16::try_from(alarms.len()).unwrap_or(0))];
    constraints.extend(heights(board, usize::from(frame.area().height)));
    constraints.push(Constraint::Length(1));
    let areas = Layout::vertical(constraints).split(frame.area());
    let alarm_style = tone_style(Tone::Alarm, colours);
    frame.render_widget(Paragraph::new(Text::from(alarms)).style(alarm_style), areas[0]);
    for (at, pane) in board.panes.iter().enumerate() {
        let is_focused = at == position.pane;
        let look = PaneLook { is_focused, colours };
        draw_pane(frame, areas[at + 1], pane, position.selected[at], look);
    }
    frame.render_widget(Paragraph::new(footer(board, position)), areas[board.panes.len() + 1]);
}

struct PaneLook {
    is_focused: bool,
    colours: bool,
}

fn alarm_lines(alarms: &[String]) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> =
        alarms.iter().take(ALARMS_MAX).map(|text| Line::from(format!("! {text}"))).collect();
    if alarms.len() > ALARMS_MAX {
        lines.push(Line::from(format!("! … and {} more", alarms.len() - ALARMS_MAX)));
    }
    lines
}

/// Hosts and strangers get what they need, up to a quarter each; GPUs come before tasks.
fn heights(board: &Board, height: usize) -> Vec<Constraint> {
    let [hosts, gpus, _, strangers] = &board.panes;
    let lines = |pane: &Pane| pane.rows.len() + FRAME_LINES;
    let least = FRAME_LINES + 1;
    let length = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let strangers_lines =
        if strangers.rows.is_empty() { 0 } else { lines(strangers).min((height / 4).max(least)) };
    vec![
        length(lines(hosts).min((height / 4).max(least))),
        length(lines(gpus).min((height / 2).max(least))),
        Constraint::Min(0),
        length(strangers_lines),
    ]
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, pane: &Pane, selected: usize, look: PaneLook) {
    if area.height == 0 {
        return;
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let title_style = if look.is_focused { bold } else { Style::new() };
    let mark = if look.is_focused { "▶ " } else { "" };
    let title = Line::styled(format!("{mark}{} ({})", pane.title, pane.rows.len()), title_style);
    let rows = pane.rows.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| Cell::from(cell.replace('\n', "; ")));
        Row::new(cells).style(tone_style(row.tone, look.colours))
    });
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let table = Table::new(rows, widths(pane))
        .header(Row::new(pane.columns.iter().copied()).style(bold))
        .block(Block::new().borders(Borders::TOP | Borders::BOTTOM).title(title))
        .row_highlight_style(if look.is_focused { reversed } else { Style::new() });
    let mut state = TableState::default();
    if !pane.rows.is_empty() {
        state.select(Some(selected.min(pane.rows.len() - 1)));
    }
    frame.render_stateful_widget(table, area, &mut state);
}

/// As wide as what is in a column; the last one gets the rest.
fn widths(pane: &Pane) -> Vec<Constraint> {
    let widest = |at: usize| {
        let cells = pane.rows.iter().filter_map(|row| row.cells.get(at));
        let width = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        u16::try_from(width.max(pane.columns[at].chars().count())).unwrap_or(u16::MAX)
    };
    let last = pane.columns.len() - 1;
    let mut widths: Vec<_> = (0..last).map(|at| Constraint::Length(widest(at))).collect();
    widths.push(Constraint::Fill(1));
    widths
}

fn tone_style(tone: Tone, colours: bool) -> Style {
    let style = Style::new();
    match tone {
        _ if !colours => style,
        Tone::Plain => style,
        Tone::Busy => style.fg(Color::Cyan),
        Tone::Warning => style.fg(Color::Yellow),
        Tone::Alarm => style.fg(Color::Red),
    }
}

fn footer(board: &Board, position: &Position) -> String {
    let age = match board.age.as_str() {
        "" => "no host has told of itself yet".to_owned(),
        age => format!("hosts tell every few seconds; the oldest report is {age} old"),
    };
    let trouble = position.trouble.as_ref().map(|it| format!("  ! {it}")).unwrap_or_default();
    format!("{KEYS} (by {})  {age}{trouble}", position.sort.name())
}
