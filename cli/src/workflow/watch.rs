//! `workflow watch`

use super::NONE_IN_ANSWER;
use crate::{
    error::{CliError, Outcome, exit},
    output::Look,
    screen::Screen,
    session::Session,
    style::Palette,
    view::{workflow::WorkflowView, workflow_drawing::Drawn, workflow_graph::GraphView},
};
use asyncflow_proto::v1::WatchWorkflowResponse;
use console::truncate_str;
use futures::TryStreamExt;
use std::pin::pin;

/// Show a workflow as it goes on, until it is over
///
/// On a terminal the graph is drawn anew whenever it has changed; elsewhere each change is a line.
/// With `-o json` or `-o jsonl` each line is the whole, as `workflow show` prints it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let mut screen = if session.output.is_table() { Screen::open() } else { None };
    let broker = session.patient_about_workflow(&id).await?;
    let mut views = pin!(broker.client.watch_workflow(&id));
    let mut before: Option<GraphView> = None;
    while let Some(view) = views.try_next().await.map_err(|error| broker.explain(error))? {
        let graph = graph_of(view)?;
        match &mut screen {
            Some(screen) => screen.draw(&picture(&graph, session.output.look(), screen.size()))?,
            None if session.output.is_table() => {
                let news = graph.news(before.as_ref(), session.output.look());
                news.iter().try_for_each(|line| session.output.line(line))?;
            }
            None => session.output.next(&graph, String::new)?,
        }
        before = Some(graph);
    }
    Ok(exit::OK)
}

fn graph_of(view: WatchWorkflowResponse) -> Result<GraphView, CliError> {
    let workflow = view.workflow.ok_or_else(|| CliError::Failed(NONE_IN_ANSWER.to_owned()))?;
    Ok(GraphView::new(WorkflowView::from(workflow), view.nodes))
}

/// The whole on one screen: its state, and as many of its nodes as there is room for.
fn picture(graph: &GraphView, look: Look, (lines, columns): (usize, usize)) -> Vec<String> {
    let told = truncate_str(&graph.workflow().told(look), columns, "…").into_owned();
    let mut picture = vec![told];
    // One line for the whole, one that says what is left out, one for the cursor.
    picture.extend(cut(graph.drawn(look, Some(columns)), lines.saturating_sub(3), look.palette));
    picture
}

/// At most so many lines and one more: first those of nodes that run or failed, then the others
/// from the top.
fn cut(drawn: Vec<Drawn>, mut room: usize, palette: Palette) -> Vec<String> {
    let mut is_shown = vec![false; drawn.len()];
    for live_ones in [true, false] {
        for (at, node) in drawn.iter().enumerate().filter(|(_, node)| node.is_live == live_ones) {
            if node.lines.len() > room {
                break;
            }
            room -= node.lines.len();
            is_shown[at] = true;
        }
    }
    let left_out = is_shown.iter().filter(|is_shown| !**is_shown).count();
    let shown = drawn.into_iter().zip(is_shown).filter(|(_, is_shown)| *is_shown);
    let mut lines: Vec<String> = shown.flat_map(|(node, _)| node.lines).collect();
    if left_out > 0 {
        lines.push(palette.faint(&format!("… and {left_out} more nodes")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(name: &str, is_live: bool) -> Drawn {
        Drawn { lines: vec![name.to_owned()], is_live }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_runs_is_shown() {
        let nodes = || vec![drawn("a", false), drawn("b", false), drawn("c", true)];
        let cut = |room| cut(nodes(), room, Palette::off());
        assert_eq!(cut(3), ["a", "b", "c"]);
        assert_eq!(cut(2), ["a", "c", "… and 1 more nodes"]);
        assert_eq!(cut(1), ["c", "… and 2 more nodes"]);
        assert_eq!(cut(0), ["… and 3 more nodes"]);
    }
}
