//! Wakes readers of growing files by inotify: one instance for the whole worker (a user may have
//! only 128), one watch per directory.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use tokio::{io::unix::AsyncFd, sync::watch};

type Senders = Mutex<HashMap<WatchDescriptor, watch::Sender<()>>>;

/// Watches directories; a cheap clone.
#[derive(Clone)]
pub struct FileWatch(Option<Arc<Inner>>);

struct Inner {
    inotify: AsyncFd<Handle>,
    senders: Senders,
}

struct Handle(Inotify);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl FileWatch {
    /// Without inotify (no instances left) readers look once a second instead. Must be called
    /// inside of a tokio runtime.
    pub fn open() -> Self {
        let opened = || -> io::Result<Inner> {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "its replacement is unsafe; the handle owns its descriptor for life"
            )]
            let inotify = AsyncFd::new(Handle(inotify))?;
            Ok(Inner { inotify, senders: Senders::default() })
        };
        let inner = opened().inspect_err(|error| tracing::warn!(%error, "no inotify, polling"));
        Self(inner.ok().map(Arc::new))
    }

    /// Delivers until it is dropped.
    pub async fn run(&self) {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = inner.inotify.readable().await else { return };
            match inner.inotify.get_ref().0.read_events() {
                Ok(events) => inner.with(|senders| {
                    for sender in events.iter().filter_map(|event| senders.get(&event.wd)) {
                        sender.send_replace(());
                    }
                }),
                Err(error) => {
                    if error != Errno::EAGAIN {
                        tracing::warn!(%error, "inotify");
                    }
                    ready.clear_ready();
                }
            }
        }
    }

    /// Watches the files of a directory until the answer is dropped.
    pub fn watch(&self, dir: &Path) -> Watched {
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let sender = watch::Sender::new(());
        let place = self.0.clone().and_then(|inner| {
            let added = inner.inotify.get_ref().0.add_watch(dir, flags);
            let added = added.inspect_err(|error| tracing::warn!(%error, "no watch, polling"));
            let descriptor = added.ok()?;
            inner.with(|senders| senders.insert(descriptor, sender.clone()));
            Some((inner, descriptor))
        });
        Watched { sender, place }
    }
}

impl Inner {
    fn with<T>(
        &self,
        run: impl FnOnce(&mut HashMap<WatchDescriptor, watch::Sender<()>>) -> T,
    ) -> T {
        run(&mut self.senders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One watched directory.
pub struct Watched {
    sender: watch::Sender<()>,
    place: Option<(Arc<Inner>, WatchDescriptor)>,
}

impl Watched {
    /// Changes whenever a file of the directory does.
    pub fn receiver(&self) -> watch::Receiver<()> {
        self.sender.subscribe()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some((inner, descriptor)) = self.place.take() {
            inner.with(|senders| senders.remove(&descriptor));
            // The directory may be gone already, and the watch with it.
            let _ = inner.inotify.get_ref().0.rm_watch(descriptor);
        }
    }
}
