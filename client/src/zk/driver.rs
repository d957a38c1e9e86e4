//! [shell] The task behind every handle: it owns the socket, the clock and the [`Session`], and decides nothing.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::error::Error;
use super::queue::Queue;
use super::registry::WatchId;
use super::session::{Effect, Reply, Session, Settings, Submission, Then};
use super::state::Notice;
use super::states::Writer;
use super::transport::{Streams, Transport};
use crate::wire::zk::{OpCode, Request};

/// How much is asked of the socket at once.
const READ_BYTES: usize = 64 << 10;
/// Below this much room a new piece of memory is used: replies may keep the old one.
const READ_BYTES_MIN: usize = 4 << 10;
/// Length and reply header: what is read of a reply that is too large.
const HEAD_BYTES: usize = 4 + 16;
/// Commands that are taken before the socket has its turn.
const COMMANDS_PER_TURN: usize = 1024;
/// How long the last handle's session may take to be closed, before it is left to expire.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Who waits for an answer, and its share of what may be under way, which is given back when the answer is taken.
pub(crate) struct Answer {
    pub(crate) sender: oneshot::Sender<(Result<Reply, Error>, OwnedSemaphorePermit)>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What handles want of the driver.
pub(crate) enum Command {
    Submit { submission: Submission<Answer>, watcher: Option<(WatchId, Arc<Queue<Notice>>)> },
    AddIdentity { scheme: String, token: Vec<u8>, answer: Answer },
    Unwatch(WatchId),
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Streams>> + Send>>;

struct Connection {
    streams: Streams,
    input: BytesMut,
    /// Bytes of a reply that nobody wants to hold.
    skip: usize,
    writing: Vec<u8>,
    written: usize,
    /// Something was written that may still be on this side of the encryption.
    unflushed: bool,
}

pub(crate) struct Driver {
    session: Session<Answer>,
    transport: Arc<Transport>,
    reply_bytes_max: usize,
    started: Instant,
    commands: mpsc::UnboundedReceiver<Command>,
    board: Writer,
    watchers: BTreeMap<WatchId, Arc<Queue<Notice>>>,
    /// Which host is being tried, or was last.
    host: usize,
    connecting: Option<Connecting>,
    connection: Option<Connection>,
    probes: JoinSet<(usize, bool)>,
    /// All handles are gone: when to stop trying to say good-bye.
    closing: Option<Instant>,
}

/// What woke the driver.
enum Woken {
    Command(Option<Command>),
    Connected(io::Result<Streams>),
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Probed(usize, bool),
    Time,
}

impl Driver {
    pub(crate) fn new(
        settings: Settings,
        transport: Transport,
        reply_bytes_max: usize,
        commands: mpsc::UnboundedReceiver<Command>,
        board: Writer,
    ) -> Driver {
        Driver {
            session: Session::new(settings, Duration::ZERO),
            transport: Arc::new(transport),
            reply_bytes_max,
            started: Instant::now(),
            commands,
            board,
            watchers: BTreeMap::new(),
            host: 0,
            connecting: None,
            connection: None,
            probes: JoinSet::new(),
            closing: None,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs until all handles are gone and the session is closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.carry_out();
            if self.closing.is_some_and(|until| self.session.is_over() || until <= Instant::now()) {
                return;
            }
            let woken = self.wait().await;
            self.handle(woken);
        }
    }

    async fn wait(&mut self) -> Woken {
        let wake_at = self.session.poll_timeout().map(|at| self.started + at);
        let wake_at = [wake_at, self.closing].into_iter().flatten().min();
        let sleep = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let connecting = async {
            match &mut self.connecting {
                Some(connecting) => connecting.await,
                None => pending().await,
            }
        };
        let (reading, writing) = match &mut self.connection {
            Some(connection) => {
                connection.refill(self.session.output());
                let Connection { streams, input, writing, written, unflushed, .. } = connection;
                if input.capacity() - input.len() < READ_BYTES_MIN {
                    input.reserve(READ_BYTES);
                }
                let rest = &writing[*written..];
                (Some(streams.reader.read_buf(input)), Some((&mut streams.writer, rest, *unflushed)))
            }
            None => (None, None),
        };
        let reading = async {
            match reading {
                Some(reading) => reading.await,
                None => pending().await,
            }
        };
        let writing = async {
            match writing {
                Some((writer, rest, _)) if !rest.is_empty() => match writer.write(rest).await {
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    result => result,
                },
                Some((writer, _, true)) => writer.flush().await.map(|()| 0),
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            result = reading => Woken::Read(result),
            command = self.commands.recv(), if self.closing.is_none() => Woken::Command(command),
            result = writing => Woken::Written(result),
            result = connecting => Woken::Connected(result),
            Some(Ok((host, read_write))) = self.probes.join_next() => Woken::Probed(host, read_write),
            () = sleep => Woken::Time,
        }
    }

    fn handle(&mut self, woken: Woken) {
        let now = self.now();
        match woken {
            Woken::Command(None) => {
                self.closing = Some(Instant::now() + CLOSE_PATIENCE);
                self.say_goodbye(now);
            }
            Woken::Command(Some(command)) => {
                self.obey(now, command);
                for _ in 0..COMMANDS_PER_TURN {
                    let Ok(command) = self.commands.try_recv() else { break };
                    self.obey(now, command);
                }
            }
            Woken::Connected(result) => {
                self.connecting = None;
                match result {
                    Ok(streams) => {
                        self.connection = Some(Connection::new(streams));
                        self.session.handle_connected(now);
                    }
                    Err(error) => self.lost(now, &error.to_string()),
                }
            }
            Woken::Read(Ok(0)) => self.lost(now, "the server closed the connection"),
            Woken::Read(Err(error)) | Woken::Written(Err(error)) => self.lost(now, &error.to_string()),
            Woken::Read(Ok(_)) => self.take_frames(now),
            Woken::Written(Ok(count)) => {
                if let Some(connection) = &mut self.connection {
                    // A flush counts as nothing written.
                    connection.unflushed = count > 0;
                    connection.written += count;
                }
            }
            Woken::Probed(host, read_write) => self.session.handle_probe(now, host, read_write),
            Woken::Time => {}
        }
        self.session.handle_timeout(self.now());
    }

    /// Remembers why, for whoever asks why there is no session.
    fn lost(&mut self, now: Duration, reason: &str) {
        let (name, port) = &self.transport.hosts[self.host];
        let trouble = format!("{name}:{port}: {reason}");
        self.board.note_trouble(trouble);
        self.session.handle_lost(now);
    }

    fn obey(&mut self, now: Duration, command: Command) {
        match command {
            Command::Submit { submission, watcher } => {
                self.watchers.extend(watcher);
                self.session.submit(now, submission);
            }
            Command::AddIdentity { scheme, token, answer } => {
                self.session.add_identity(now, scheme, token, answer);
            }
            Command::Unwatch(id) => {
                self.watchers.remove(&id);
                self.session.unwatch(now, id);
            }
        }
    }

    fn say_goodbye(&mut self, now: Duration) {
        let mut frame = Vec::new();
        Request::CloseSession.write(0, &mut frame);
        // A share of a budget that only this one request has: the handles' is gone with them.
        let budget = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = budget.try_acquire_owned().expect("a new semaphore has its permit");
        let answer = Answer { sender: oneshot::channel().0, permit };
        self.session.submit(now, Submission { op: OpCode::CloseSession, frame, then: Then::Nothing, answer });
    }

    /// Hands over every whole frame that has arrived.
    fn take_frames(&mut self, now: Duration) {
        while let Some(connection) = &mut self.connection {
            let input = &mut connection.input;
            let skipped = connection.skip.min(input.len());
            input.advance(skipped);
            connection.skip -= skipped;
            let Some(length) = input.first_chunk::<4>().map(|head| i32::from_be_bytes(*head)) else { return };
            let Ok(length) = usize::try_from(length) else { return self.session.handle_lost(now) };
            if length <= self.reply_bytes_max {
                if input.len() < 4 + length {
                    return;
                }
                input.advance(4);
                let frame = input.split_to(length).freeze();
                self.session.handle_frame(now, frame);
            } else {
                if input.len() < HEAD_BYTES {
                    return;
                }
                let head = input.split_to(HEAD_BYTES);
                connection.skip = 4 + length - HEAD_BYTES;
                self.session.handle_too_large(now, &head[4..], length, self.reply_bytes_max);
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect(host) => {
                    let transport = Arc::clone(&self.transport);
                    self.host = host;
                    self.connecting = Some(Box::pin(async move { transport.connect(host).await }));
                }
                Effect::Disconnect => {
                    self.connecting = None;
                    self.connection = None;
                    self.probes = JoinSet::new();
                }
                Effect::Probe(host) => {
                    let transport = Arc::clone(&self.transport);
                    self.probes.spawn(async move { (host, transport.is_read_write(host).await) });
                }
                Effect::Answer(Answer { sender, permit }, result) => {
                    // Whoever asked may have gone.
                    let _ = sender.send((result, permit));
                }
                Effect::Notify { id, notice, last: false } => {
                    if let Some(queue) = self.watchers.get(&id) {
                        queue.push(notice);
                    }
                }
                Effect::Notify { id, notice, last: true } => {
                    if let Some(queue) = self.watchers.remove(&id) {
                        queue.finish(notice);
                    }
                }
                Effect::State(state) => self.board.tell(state),
            }
        }
    }
}

impl Connection {
    fn new(streams: Streams) -> Connection {
        Connection {
            streams,
            input: BytesMut::new(),
            skip: 0,
            writing: Vec::new(),
            written: 0,
            unflushed: false,
        }
    }

    /// Takes over what is to be written when everything before it is.
    fn refill(&mut self, output: &mut Vec<u8>) {
        if self.written == self.writing.len() {
            self.writing.clear();
            self.written = 0;
            std::mem::swap(&mut self.writing, output);
        }
    }
}
