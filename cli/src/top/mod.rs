//! `asyncflow top`: hosts × GPUs × who × what, live.
//!
//! ```text
//! ListHosts every second ─▶ history (samples) ─▶ board (rows, pure) ─▶ draw
//!                    keys ─▶ position ──────────────────────────────────┘
//! ```

mod board;
mod draw;
mod history;
mod keys;
#[cfg(test)]
mod tests;

use crate::{
    connection::{Broker, BrokerAddress},
    error::{CliError, Outcome, exit},
    fleet,
    output::{Look, Output, OutputArgs},
    style::Palette,
    view::gpu,
};
use asyncflow_proto::v1::Host;
use board::Board;
use futures::future::OptionFuture;
use history::History;
use keys::{Position, Turn};
use ratatui::{DefaultTerminal, crossterm::event};
use std::{io, io::IsTerminal, thread, time::Duration};
use tokio::sync::mpsc;

/// How often the broker is asked.
const ROUND: Duration = Duration::from_secs(1);
/// How soon the thread that reads keys sees that it is to end.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Watch hosts, GPUs and what runs there, live
///
/// It asks every second; hosts tell of themselves every few seconds. Keys: q quits, tab goes to the
/// next table, arrows scroll, s sorts. Without a terminal, or with `-o json`, it prints the GPUs
/// once, as `asyncflow gpu list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let (broker, output) = (args.broker.open()?, args.output.open());
    // Before the screen is taken: an error of the first call is told as any other.
    let hosts = fleet::hosts(&broker).await?;
    let is_live = io::stdout().is_terminal() && io::stdin().is_terminal() && output.is_table();
    if !is_live {
        let views: Vec<_> = hosts.iter().flat_map(gpu::views).collect();
        output.many(&views)?;
        return Ok(exit::OK);
    }
    let mut terminal = ratatui::try_init().map_err(CliError::from)?;
    let shown = show(&broker, &output, hosts, &mut terminal).await;
    ratatui::restore();
    shown
}

/// Draws until somebody has enough.
async fn show(
    broker: &Broker,
    output: &Output,
    mut hosts: Vec<Host>,
    terminal: &mut DefaultTerminal,
) -> Outcome {
    let (sender, mut events) = mpsc::channel(16);
    let reader = thread::spawn(move || read_events(&sender));
    let mut screen = Screen { history: History::default(), position: Position::default() };
    screen.history.note(&hosts);
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rounds.tick().await;
    let mut asked = None;
    let ended = loop {
        let board = screen.board(&hosts, output.look());
        if let Err(error) = screen.draw(terminal, &board) {
            break Err(error.into());
        }
        let turn = tokio::select! {
            Some(answer) = OptionFuture::from(asked.as_mut()) => {
                asked = None;
                screen.take(answer, &mut hosts);
                Turn::Draw
            }
            event = events.recv() => match event {
                None => Turn::Quit,
                Some(Err(error)) => break Err(CliError::from(error)),
                Some(Ok(event)) => screen.position.take(&event, &board),
            },
            // Keys are heard while a call hangs, and one call at a time is asked.
            _ = rounds.tick(), if asked.is_none() => {
                asked = Some(Box::pin(fleet::hosts(broker)));
                continue;
            }
        };
        if turn == Turn::Quit {
            break Ok(exit::OK);
        }
    };
    // It ends when it sees that nobody listens any more.
    drop(events);
    let _ = reader.join();
    ended
}

/// What is kept between two pictures.
struct Screen {
    history: History,
    position: Position,
}

impl Screen {
    /// Colours are the drawing's: cells hold plain text.
    fn board(&self, hosts: &[Host], look: Look) -> Board {
        let look = Look { palette: Palette::plain(), ..look };
        Board::new(hosts, &self.history, self.position.sort, look)
    }

    fn draw(&mut self, terminal: &mut DefaultTerminal, board: &Board) -> io::Result<()> {
        let colours = Palette::stdout().is_on();
        terminal.draw(|frame| draw::draw(frame, board, &mut self.position, colours)).map(drop)
    }

    /// A broker that is away for a while ends nothing: the last picture stays, and says so.
    fn take(&mut self, answer: Result<Vec<Host>, CliError>, hosts: &mut Vec<Host>) {
        match answer {
            Ok(now) => {
                self.history.note(&now);
                self.position.trouble = None;
                *hosts = now;
            }
            Err(error) => {
                let text = error.to_string();
                self.position.trouble = Some(text.lines().next().unwrap_or_default().to_owned());
            }
        }
    }
}

/// Reads keys until nobody listens any more. A thread of its own, because reading blocks.
fn read_events(sender: &mpsc::Sender<io::Result<event::Event>>) {
    while !sender.is_closed() {
        let event = match event::poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let is_over = event.is_err();
        if sender.blocking_send(event).is_err() || is_over {
            return;
        }
    }
}
