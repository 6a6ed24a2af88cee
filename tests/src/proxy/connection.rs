//! One connection through the proxy.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

use super::{
    Direction, Flow, Plan, Shared,
    cut::{Tail, Verdict},
};

const PIECE_BYTES: usize = 16 * 1024;

/// Why a connection is not ended in good order.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Makes the end of this connection a reset (RST) instead of an end (FIN).
pub(super) fn reset(stream: &TcpStream) {
    // It fails on a connection that is gone, and then there is nobody to be told.
    let _ = stream.set_zero_linger();
}

/// Returns when somebody wants every connection of now reset.
async fn until_reset(shared: &Shared) {
    let mut plan = shared.plan.subscribe();
    let now = plan.borrow_and_update().resets;
    let _ = plan.wait_for(|plan| plan.resets != now).await;
}

/// Returns when somebody wants every connection of now lost.
async fn until_lost(shared: &Shared) {
    let mut plan = shared.plan.subscribe();
    let now = plan.borrow_and_update().losses;
    let _ = plan.wait_for(|plan| plan.losses != now).await;
}

/// Takes what the client says until it ends, or until the flow changes.
pub(super) async fn swallow(mut client: TcpStream, shared: &Shared) {
    let mut plan = shared.plan.subscribe();
    let mut piece = vec![0; PIECE_BYTES];
    let swallowed = async { while !matches!(client.read(&mut piece).await, Ok(0) | Err(_)) {} };
    tokio::select! {
        () = swallowed => {}
        _ = plan.wait_for(|plan| !plan.is_blackhole) => {}
        () = until_reset(shared) => {}
    }
    reset(&client);
}

/// What both ways of a connection share.
struct Link<'a> {
    shared: &'a Shared,
    /// It is cut when the target says something.
    loses_answer: AtomicBool,
}

impl Link<'_> {
    fn cut(&self) -> Broken {
        self.shared.plan.send_modify(|plan| plan.cuts += 1);
        Broken
    }
}

/// Passes bytes both ways, as the plan says, until both ways have ended or something breaks.
pub(super) async fn forward(mut client: TcpStream, mut target: TcpStream, shared: &Shared) {
    // What is delayed is delayed by the plan and by nothing else.
    let _ = client.set_nodelay(true).and_then(|()| target.set_nodelay(true));
    let is_broken = {
        let (from_client, to_client) = client.split();
        let (from_target, to_target) = target.split();
        let link = Link { shared, loses_answer: AtomicBool::new(false) };
        let up = pump(from_client, to_target, Direction::Up, &link);
        let down = pump(from_target, to_client, Direction::Down, &link);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
            () = until_reset(shared) => true,
            () = until_lost(shared) => {
                until_reset(shared).await;
                true
            }
        }
    };
    if is_broken {
        reset(&client);
        reset(&target);
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    link: &Link<'_>,
) -> Result<(), Broken> {
    let mut plan = link.shared.plan.subscribe();
    let (mut piece, mut tail) = (vec![0; PIECE_BYTES], Tail::default());
    let mut has_hole = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            _ = until(&mut plan, direction, |flow| flow != Flow::Swallow), if has_hole => {
                return Err(Broken);
            }
        };
        // As it is now: whoever has changed it and then writes is sure of it.
        let flow = until(&mut plan, direction, |flow| flow != Flow::Hold).await;
        let read = read?;
        if has_hole && flow != Flow::Swallow {
            return Err(Broken);
        }
        if read == 0 {
            // An end is lost, too.
            if flow != Flow::Swallow {
                to.shutdown().await?;
            }
            return Ok(());
        }
        let bytes = &piece[..read];
        if flow == Flow::Swallow {
            has_hole = true;
            continue;
        }
        if direction == Direction::Down && link.loses_answer.load(Ordering::Relaxed) {
            return Err(link.cut());
        }
        match link.shared.trap.judge(direction, &mut tail, bytes) {
            Verdict::Passes => {}
            Verdict::CutAfter(passes) => {
                write(&mut to, &bytes[..passes], flow).await?;
                return Err(link.cut());
            }
            Verdict::LoseAnswer => link.loses_answer.store(true, Ordering::Relaxed),
        }
        write(&mut to, bytes, flow).await?;
    }
}

/// The flow of the direction, as soon as it is one of these. Cancel safe.
async fn until(
    plan: &mut watch::Receiver<Plan>,
    direction: Direction,
    is_one: impl Fn(Flow) -> bool,
) -> Flow {
    let found = plan.wait_for(|plan| is_one(plan.flow(direction))).await;
    let flow = found.map(|plan| plan.flow(direction));
    match flow {
        Ok(flow) => flow,
        // Nobody can change it any more.
        Err(_) => std::future::pending().await,
    }
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], flow: Flow) -> io::Result<()> {
    match flow {
        Flow::Delay(late) => {
            tokio::time::sleep(late).await;
            to.write_all(bytes).await
        }
        Flow::Drip(apart) => {
            for byte in bytes {
                tokio::time::sleep(apart).await;
                to.write_all(std::slice::from_ref(byte)).await?;
            }
            Ok(())
        }
        Flow::Forward | Flow::Hold | Flow::Swallow => to.write_all(bytes).await,
    }
}
