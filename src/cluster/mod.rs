//! Floor 4: several nodes share their channels through Redis. A thread of its own asks and hears; owners are told by mail. Must never keep a
//! shard waiting, nor decide anything about a channel.

mod followed;
mod health;
mod keys;
mod line;
mod others;
mod question;
mod session;
mod target;

pub use health::Health;
pub use line::Line;

use crate::config::BrokerAddr;
use crate::hub::broker::{Ask, Refusal, Told};
use crate::hub::owned::EPOCH_LIMIT;
use crate::limits::{BROKER_RETRY_MS, BROKER_RETRY_MS_MAX};
use followed::Followed;
use keys::Keys;
use redis::{RedisError, RedisResult};
use session::{Connected, Session};
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;
use target::Target;
use tokio::time::{Instant, sleep_until};

/// Who is told.
pub trait Receiver: Send {
    /// Hands over what the broker told, each to the owner of its channel, or to all.
    fn deliver(&mut self, told: Vec<Told>);

    /// Whether so much waits for the owner of a channel that it cannot take more now.
    fn is_congested(&self, name: &str) -> bool;
}

/// The way to a broker, before its thread is started.
#[derive(Debug)]
pub struct Cluster {
    target: Target,
    shown: String,
    shared: Shared,
}

/// What the parts of the thread share.
#[derive(Debug)]
struct Shared {
    line: Line,
    health: Health,
    keys: Keys,
    /// What this process is called among the nodes: another name each time that it is started.
    id: String,
    rng: RefCell<fastrand::Rng>,
}

impl Shared {
    fn new(prefix: &str, seed: u64) -> Self {
        let (line, mut rng) = (Line::default(), fastrand::Rng::with_seed(seed));
        Self {
            health: Health::new(line.clone()),
            line,
            keys: Keys::new(prefix),
            id: format!("{:016x}", rng.u64(..)),
            rng: RefCell::new(rng),
        }
    }

    /// An epoch for a channel that may have none.
    fn fresh_epoch(&self) -> u64 {
        self.rng.borrow_mut().u64(1..EPOCH_LIMIT)
    }

    /// Says why the broker refuses something.
    fn complain(&self, error: &RedisError) {
        tracing::warn!(%error, "the broker refuses what it is asked");
    }
}

impl Cluster {
    /// The way to the broker at `addr`; its keys begin with `prefix`. Nothing is connected to yet.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn new(addr: &BrokerAddr, prefix: &str, seed: u64) -> Result<Self, String> {
        let target = Target::new(addr).map_err(|error| error.to_string())?;
        let shared = Shared::new(prefix, seed);
        Ok(Self { target, shown: addr.to_string(), shared })
    }

    /// The end for shards.
    #[must_use]
    pub fn line(&self) -> Line {
        self.shared.line.clone()
    }

    /// How the broker is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health.clone()
    }

    /// Starts the thread. It lasts as long as the process.
    ///
    /// To be called when threads that take a descriptor table of their own have taken it: they would keep its connections open.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn start(self, mut receiver: impl Receiver + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let body = move || runtime.block_on(self.run(&mut receiver));
        thread::Builder::new().name("broker".to_owned()).spawn(body).map(drop)
    }

    /// Connects, serves until that is lost, and tries again, later each time it fails.
    async fn run(self, receiver: &mut dyn Receiver) {
        let mut followed = Followed::default();
        let mut wait_ms = BROKER_RETRY_MS;
        receiver.deliver(vec![Told::Away]);
        loop {
            let opened = self.connect(&mut followed, receiver).await;
            let error = match opened {
                Ok(connected) => {
                    let mut session = Session::new(connected, &self.shared, &mut followed);
                    tracing::info!(
                        broker = self.shown,
                        durable = session.is_durable(),
                        "the broker is there"
                    );
                    self.shared.health.set_up(true);
                    receiver.deliver(vec![Told::Back]);
                    wait_ms = BROKER_RETRY_MS;
                    let error = session.run(receiver).await;
                    self.shared.health.set_up(false);
                    session.close(receiver);
                    error
                }
                Err(error) => error,
            };
            let pause_ms = self.shared.rng.borrow_mut().u64(0..=wait_ms);
            tracing::warn!(broker = self.shown, %error, pause_ms, "the broker is away: nothing can be published");
            wait_ms = (wait_ms * 2).min(BROKER_RETRY_MS_MAX);
            self.refuse_until(Instant::now() + Duration::from_millis(pause_ms), &mut followed, receiver)
                .await;
        }
    }

    /// Connects; whatever is asked meanwhile is refused.
    async fn connect(&self, followed: &mut Followed, receiver: &mut dyn Receiver) -> RedisResult<Connected> {
        let mut connecting = pin!(session::connect(&self.target));
        loop {
            tokio::select! {
                connected = &mut connecting => return connected,
                () = self.shared.line.filled() => self.refuse_all(followed, receiver),
            }
        }
    }

    /// Refuses whatever is asked until then.
    async fn refuse_until(&self, until: Instant, followed: &mut Followed, receiver: &mut dyn Receiver) {
        loop {
            self.refuse_all(followed, receiver);
            tokio::select! {
                () = self.shared.line.filled() => {}
                () = sleep_until(until) => return,
            }
        }
    }

    fn refuse_all(&self, followed: &mut Followed, receiver: &mut dyn Receiver) {
        let asks = self.shared.line.take();
        receiver.deliver(asks.into_iter().filter_map(|ask| self.refuse(ask, followed)).collect());
    }

    fn refuse(&self, ask: Ask, followed: &mut Followed) -> Option<Told> {
        match ask {
            Ask::Publish(draft) => {
                self.shared.line.settle(draft.bytes());
                self.shared.health.count_refused();
                let outcome = Err(Refusal::Unavailable);
                Some(Told::Published {
                    name: draft.name,
                    publisher: draft.publisher,
                    outcome,
                    repeated: false,
                })
            }
            Ask::Fetch { name, .. } => Some(Told::Failed(name)),
            Ask::Follow(name) => {
                followed.follow(name.clone());
                Some(Told::Failed(name))
            }
            Ask::Unfollow(name) => {
                followed.unfollow(&name);
                None
            }
            // Nobody hears it, and nobody waits for long.
            Ask::Others { .. } | Ask::Answer { .. } => None,
        }
    }
}
