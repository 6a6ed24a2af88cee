//! A TCP proxy that does to connections what networks do to them.
//!
//! ```text
//!   client ──▶ Proxy ──▶ target        Up: what the client sends, Down: what it is answered
//!              Forward, Delay, Hold, Swallow, Drip for each direction; blackhole, reset, lose, cut
//! ```
//!
//! It has a thread and a runtime of its own, so that a busy test does not slow it down. Dropping it
//! ends every connection and joins the thread.

mod connection;
mod cut;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use asyncflow_store::testing::tally;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub use cut::CutAfter;
use cut::Trap;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connects to the target.
    Up,
    /// Back from the target.
    Down,
}

/// What becomes of the bytes of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They go on at once.
    #[default]
    Forward,
    /// They go on so much later.
    Delay(Duration),
    /// They stay where they are, and go on when the flow changes, as in a network that is broken
    /// for a while.
    Hold,
    /// They are taken and lost. A connection with such a hole is reset when the flow changes.
    Swallow,
    /// They go on one by one, so long after each other.
    Drip(Duration),
}

impl Flow {
    /// Counts it, if it is a fault.
    fn tally(self) {
        match self {
            Self::Forward => {}
            Self::Delay(_) => tally("link slow"),
            Self::Hold => tally("link held"),
            Self::Swallow => tally("link that loses"),
            Self::Drip(_) => tally("link that drips"),
        }
    }
}

/// What all connections of a proxy go by.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    up: Flow,
    down: Flow,
    /// Those who connect are taken, and what they say goes nowhere.
    is_blackhole: bool,
    /// +1 at every reset.
    resets: u64,
    /// +1 whenever connections are left behind.
    losses: u64,
    /// +1 at every cut.
    cuts: u64,
    is_over: bool,
}

impl Plan {
    fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }
}

/// What connections share.
struct Shared {
    target: String,
    plan: watch::Sender<Plan>,
    trap: Trap,
}

/// A proxy in front of a port. At first it forwards.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a port of its own and connects everybody to `target`, e.g. `127.0.0.1:7070`,
    /// which need not be there yet: who comes meanwhile is reset.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(target: &str) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) =
            listener.unwrap_or_else(|error| panic!("a proxy cannot listen: {error}"));
        let plan = watch::Sender::new(Plan::default());
        let shared = Arc::new(Shared { target: target.to_owned(), plan, trap: Trap::default() });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(listener, &of_thread));
        Self { address, shared, thread: Some(thread) }
    }

    /// Where it listens, e.g. `127.0.0.1:34567`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on the bytes of this direction fare so.
    pub fn set(&self, direction: Direction, flow: Flow) {
        flow.tally();
        self.shared.plan.send_modify(|plan| match direction {
            Direction::Up => plan.up = flow,
            Direction::Down => plan.down = flow,
        });
    }

    /// The same for both directions.
    pub fn set_both(&self, flow: Flow) {
        flow.tally();
        self.shared.plan.send_modify(|plan| (plan.up, plan.down) = (flow, flow));
    }

    /// Takes connections and everything that is said on them, and answers nothing. The target hears
    /// of none of it.
    pub fn blackhole(&self) {
        tally("link blackhole");
        self.shared.plan.send_modify(|plan| {
            (plan.up, plan.down) = (Flow::Swallow, Flow::Swallow);
            plan.is_blackhole = true;
        });
    }

    /// Forwards again, whatever it did. Connections from which bytes are lost are reset.
    pub fn heal(&self) {
        self.shared.plan.send_modify(|plan| {
            (plan.up, plan.down) = (Flow::Forward, Flow::Forward);
            plan.is_blackhole = false;
        });
    }

    /// Resets every connection that is open now, on both sides (RST).
    pub fn reset(&self) {
        tally("link reset");
        self.shared.plan.send_modify(|plan| plan.resets += 1);
    }

    /// From now on nothing passes on any connection that is open now, neither bytes nor its end:
    /// to each side it looks as if the other were silent. New ones fare by the flows.
    pub fn lose(&self) {
        tally("link silent");
        self.shared.plan.send_modify(|plan| plan.losses += 1);
    }

    /// Resets the first connection on which this has passed in that direction, counted from now on;
    /// nothing of what comes behind it passes. Once.
    pub fn cut_after(&self, direction: Direction, after: CutAfter) {
        tally("link cut");
        self.shared.trap.set(direction, after);
    }

    /// Resets the first connection on which the client has said all of these, one after the other,
    /// counted from now on, when the target answers the last one; the answer is lost. Once.
    pub fn lose_answer(&self, said: &[&[u8]]) {
        tally("link answer lost");
        self.shared.trap.lose_answer(said);
    }

    /// Returns when so many connections were cut by [`cut_after`](Self::cut_after) and
    /// [`lose_answer`](Self::lose_answer) since the start.
    pub async fn until_cut(&self, times: u64) {
        let mut plan = self.shared.plan.subscribe();
        // Fails only without a sender, which `self` has.
        let _ = plan.wait_for(|plan| plan.cuts >= times).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.plan.send_modify(|plan| plan.is_over = true);
        if let Some(thread) = self.thread.take() {
            // It has told of its panic itself.
            let _ = thread.join();
        }
    }
}

fn run(listener: std::net::TcpListener, shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for a proxy: {error}"));
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener);
        let listener = listener.unwrap_or_else(|error| panic!("a proxy cannot listen: {error}"));
        let mut plan = shared.plan.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = plan.wait_for(|plan| plan.is_over) => break,
                Some(_) = connections.join_next() => {}
                Ok((client, _)) = listener.accept() => {
                    connections.spawn(serve(client, Arc::clone(shared)));
                }
            }
        }
        connections.shutdown().await;
    });
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    if shared.plan.borrow().is_blackhole {
        return connection::swallow(client, &shared).await;
    }
    match TcpStream::connect(&shared.target).await {
        Ok(target) => connection::forward(client, target, &shared).await,
        Err(_) => connection::reset(&client),
    }
}
