//! One connection to Redis, or rather two: one for questions, and one that hears what is published. It lasts until either fails. Must
//! never let an order be lost: questions go out as they came, and a channel is looked at only once it is heard of.

use super::followed::{Change, Followed};
use super::others;
use super::question::{Outcome, Question, Server, incoming};
use super::target::Target;
use super::{Receiver, Shared};
use crate::hub::broker::{Ask, Refusal, Told};
use crate::limits::{
    BROKER_BATCH_MAX, BROKER_BATCHES_MAX, BROKER_HEARD_MAX, BROKER_TICK_MS, BROKER_TIMEOUT_MS,
};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, ErrorKind, Msg, RedisError, RedisResult, Value, cmd};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

const TIMEOUT: Duration = Duration::from_millis(BROKER_TIMEOUT_MS);
const PUBLISH: &str = include_str!("publish.lua");
const KEPT: &str = include_str!("kept.lua");
const BEAT: &str = include_str!("beat.lua");

type Answered = (u64, RedisResult<Vec<Value>>);

/// Both connections, fresh.
pub(super) struct Connected {
    questioned: MultiplexedConnection,
    sink: PubSubSink,
    heard: PubSubStream,
    server: Server,
}

/// Both connections, and what is under way on them.
pub(super) struct Session<'a> {
    shared: &'a Shared,
    followed: &'a mut Followed,
    questioned: MultiplexedConnection,
    heard: PubSubStream,
    sink: PubSubSink,
    server: Server,
    /// What is to be asked next.
    waiting: VecDeque<Question>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// What those ask, by their serial number.
    sent: BTreeMap<u64, Vec<Question>>,
    serial: u64,
    /// What channels are heard of changes, one step at a time.
    changing: Option<BoxFuture<'static, (Change, RedisResult<()>)>>,
    /// Channels of which something was thrown away: each is looked at when there is room again.
    missed: BTreeSet<Arc<str>>,
}

/// Connects, and learns whom it is talking to.
///
/// # Errors
/// When it cannot, or not in time.
pub(super) async fn connect(target: &Target) -> RedisResult<Connected> {
    let client = target.find().await?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT));
    let connect = async {
        let mut questioned = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (sink, heard) = client.get_async_pubsub().await?.split();
        let server = learn(&mut questioned).await?;
        Ok(Connected { questioned, sink, heard, server })
    };
    timeout(TIMEOUT, connect).await.unwrap_or_else(|_| Err(silent()))
}

impl<'a> Session<'a> {
    /// Begins to serve over fresh connections.
    pub(super) fn new(connected: Connected, shared: &'a Shared, followed: &'a mut Followed) -> Self {
        let Connected { questioned, sink, heard, server } = connected;
        followed.begin();
        Self {
            shared,
            followed,
            questioned,
            heard,
            sink,
            server,
            waiting: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            sent: BTreeMap::new(),
            serial: 0,
            changing: None,
            missed: BTreeSet::new(),
        }
    }

    /// Whether the server says that it keeps every write before it answers.
    pub(super) fn is_durable(&self) -> bool {
        self.server.durable
    }

    /// Serves until the broker is lost, and says why it was.
    pub(super) async fn run(&mut self, receiver: &mut dyn Receiver) -> RedisError {
        let own = [self.shared.keys.all(), self.shared.keys.node(&self.shared.id)];
        if let Err(error) =
            timeout(TIMEOUT, self.sink.subscribe(&own)).await.unwrap_or_else(|_| Err(silent()))
        {
            return error;
        }
        let mut tick = interval(Duration::from_millis(BROKER_TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send();
            self.change();
            let step = tokio::select! {
                () = self.shared.line.filled() => { self.take(); Ok(()) }
                Some(answered) = self.under_way.next() => self.answered(answered, receiver),
                changed = wait(&mut self.changing) => self.changed(changed),
                message = self.heard.next() => self.hear(message, receiver),
                _ = tick.tick() => self.tick(receiver),
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    /// Everyone who waits is told that the broker was lost.
    pub(super) fn close(self, receiver: &mut dyn Receiver) {
        let mut told = vec![Told::Away];
        // What became of those that are sent is not known.
        let sent: Vec<_> = self.sent.into_values().flatten().collect();
        self.shared.line.settle(sent.iter().chain(&self.waiting).map(Question::bytes).sum());
        told.extend(sent.into_iter().filter_map(|question| question.lost(true)));
        told.extend(self.waiting.into_iter().filter_map(|question| question.lost(false)));
        count_outcomes(self.shared, &told);
        told.extend(self.followed.unanswered().map(Told::Failed));
        receiver.deliver(told);
    }

    fn take(&mut self) {
        for ask in self.shared.line.take() {
            match ask {
                Ask::Publish(draft) => self.waiting.push_back(Question::Publish(draft)),
                Ask::Fetch { name, after } => self.waiting.push_back(Question::Fetch(name, after)),
                Ask::Follow(name) => self.followed.follow(name),
                Ask::Unfollow(name) => self.followed.unfollow(&name),
                Ask::Others { ticket, question } => {
                    self.waiting.extend(others::ask(self.shared, ticket, question));
                }
                Ask::Answer { node, ticket, part } => {
                    self.waiting.extend(others::answer(self.shared, &node, ticket, part));
                }
            }
        }
    }

    /// Sends what waits, in batches, of which several may be under way.
    fn send(&mut self) {
        while !self.waiting.is_empty() && self.under_way.len() < BROKER_BATCHES_MAX {
            let questions = self.next_batch();
            let count = questions.len();
            let mut pipeline = redis::Pipeline::with_capacity(count);
            pipeline.ignore_errors();
            for question in &questions {
                question.put(&mut pipeline, self.shared, &self.server);
            }
            let (mut connection, serial) = (self.questioned.clone(), self.serial);
            self.serial += 1;
            self.sent.insert(serial, questions);
            self.under_way.push(Box::pin(async move {
                (serial, connection.send_packed_commands(&pipeline, 0, count).await)
            }));
        }
    }

    /// As many of those that wait as may go out together, one at least.
    fn next_batch(&mut self) -> Vec<Question> {
        let mut weight = 0;
        let fits = |question: &&Question| {
            let begins = weight == 0;
            weight += question.weight();
            begins || weight <= BROKER_BATCH_MAX
        };
        let count = self.waiting.iter().take_while(fits).count();
        self.waiting.drain(..count).collect()
    }

    fn answered(&mut self, (serial, answers): Answered, receiver: &mut dyn Receiver) -> RedisResult<()> {
        let questions = self.sent.remove(&serial).unwrap_or_default();
        self.shared.line.settle(questions.iter().map(Question::bytes).sum());
        let (answers, lost) = match answers {
            Ok(answers) => (answers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let (mut told, mut gone, mut forgotten) = (Vec::new(), lost, Vec::new());
        let mut answers = answers.into_iter();
        for question in questions {
            let Some(answer) = answers.next() else {
                told.extend(question.lost(true));
                continue;
            };
            match question.outcome(answer) {
                Outcome::Told(one) => told.push(one),
                Outcome::Nothing => {}
                Outcome::Nodes(nodes) => self.shared.health.set_nodes(nodes),
                Outcome::Forgotten(question) => forgotten.push(question),
                Outcome::Refused { told: one, error, gone: lost } => {
                    told.extend(one);
                    self.shared.complain(&error);
                    if lost {
                        gone = Some(error);
                    }
                }
            }
        }
        if !forgotten.is_empty() {
            // Whoever connects anew brings the scripts along.
            gone = gone.or_else(|| Some((ErrorKind::Client, "it has forgotten the scripts").into()));
            told.extend(forgotten.into_iter().filter_map(|question| question.lost(false)));
        }
        told.retain(|one| !matches!(one, Told::Stands { name, .. } if !self.followed.looked_at(name)));
        count_outcomes(self.shared, &told);
        receiver.deliver(told);
        gone.map_or(Ok(()), Err)
    }

    /// Sets the next change of what is heard of going, if there is one.
    fn change(&mut self) {
        if self.changing.is_some() {
            return;
        }
        let Some(change) = self.followed.next_change() else { return };
        self.shared.health.set_followed(self.followed.len());
        let (mut sink, keys) = (self.sink.clone(), self.shared.keys.clone());
        self.changing = Some(Box::pin(async move {
            let channels: Vec<_> = change.names().iter().map(|name| keys.channel(name)).collect();
            let outcome = match &change {
                Change::Hear(_) => timeout(TIMEOUT, sink.subscribe(&channels)).await,
                Change::Mute(_) => timeout(TIMEOUT, sink.unsubscribe(&channels)).await,
            };
            (change, outcome.unwrap_or_else(|_| Err(silent())))
        }));
    }

    fn changed(&mut self, (change, outcome): (Change, RedisResult<()>)) -> RedisResult<()> {
        self.changing = None;
        outcome?;
        if let Change::Hear(names) = change {
            // Now nothing is missed any more: where it stands is where it goes on from.
            self.waiting.extend(names.into_iter().map(Question::Look));
        }
        Ok(())
    }

    /// Takes what is published, and whatever else has come meanwhile.
    fn hear(&mut self, message: Option<Msg>, receiver: &mut dyn Receiver) -> RedisResult<()> {
        let mut told = Vec::new();
        let mut next =
            message.ok_or_else(|| RedisError::from((ErrorKind::Io, "it has closed the connection")))?;
        loop {
            told.extend(self.heard_of(&next, receiver));
            if told.len() >= BROKER_HEARD_MAX {
                break;
            }
            match self.heard.next().now_or_never() {
                Some(Some(message)) => next = message,
                // If that is the end, it is met again.
                Some(None) | None => break,
            }
        }
        self.shared.health.count_incoming(told.len());
        receiver.deliver(told);
        Ok(())
    }

    fn heard_of(&mut self, message: &Msg, receiver: &dyn Receiver) -> Option<Told> {
        let Some(name) = self.shared.keys.name_of(message.get_channel_name()) else {
            return others::heard(self.shared, message.get_payload_bytes());
        };
        let name = self.followed.name_of(name)?;
        let Some((epoch, entry)) = incoming(message.get_payload_bytes()) else {
            self.shared.complain(
                &(ErrorKind::Parse, "somebody else publishes to the channels of this prefix").into(),
            );
            return None;
        };
        if receiver.is_congested(&name) {
            // Its place is looked at later, and what it missed is fetched.
            self.missed.insert(name);
            return None;
        }
        Some(Told::Incoming { name, epoch, entry })
    }

    /// Asks whether both connections live, and looks at those channels whose turn it is.
    fn tick(&mut self, receiver: &dyn Receiver) -> RedisResult<()> {
        self.waiting.push_back(Question::Beat);
        if self.changing.is_none() {
            let mut sink = self.sink.clone();
            self.changing = Some(Box::pin(async move {
                let outcome = timeout(TIMEOUT, sink.ping::<Value>()).await;
                (Change::Mute(Vec::new()), outcome.unwrap_or_else(|_| Err(silent())).map(drop))
            }));
        }
        // Behind a new connection all are looked at anyway, and first.
        let due = if self.followed.is_changing() { Vec::new() } else { self.followed.due() };
        let missed: Vec<_> = self.missed.extract_if(.., |name| !receiver.is_congested(name)).collect();
        self.waiting.extend(due.into_iter().chain(missed).map(Question::Look));
        Ok(())
    }
}

async fn wait<T>(changing: &mut Option<BoxFuture<'static, T>>) -> T {
    match changing {
        Some(changing) => changing.await,
        None => std::future::pending().await,
    }
}

/// Which server it is, and the scripts.
async fn learn(connection: &mut MultiplexedConnection) -> RedisResult<Server> {
    let info: String = cmd("INFO").query_async(connection).await?;
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    if said("role:") == "slave" {
        return Err((ErrorKind::Client, "it is a replica: name its master, or the Sentinels").into());
    }
    let run_id = said("run_id:").to_owned();
    if run_id.is_empty() {
        return Err((ErrorKind::UnexpectedReturnType, "INFO does not say `run_id`").into());
    }
    // Who may not be asked is taken for one that loses what it wrote last.
    let setting = async |connection: &mut MultiplexedConnection, name: &str| -> String {
        let pair: RedisResult<Vec<String>> = cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
        pair.ok().and_then(|pair| pair.into_iter().nth(1)).unwrap_or_default()
    };
    let durable = setting(connection, "appendonly").await == "yes"
        && setting(connection, "appendfsync").await == "always";
    let load = async |connection: &mut MultiplexedConnection, script: &str| -> RedisResult<String> {
        cmd("SCRIPT").arg("LOAD").arg(script).query_async(connection).await
    };
    let (publish, kept) = (load(connection, PUBLISH).await?, load(connection, KEPT).await?);
    let beat = load(connection, BEAT).await?;
    Ok(Server { run_id, durable, publish, kept, beat })
}

fn silent() -> RedisError {
    (ErrorKind::Io, "it does not answer in time").into()
}

fn count_outcomes(shared: &Shared, told: &[Told]) {
    for one in told {
        match one {
            Told::Published { outcome: Ok(_), .. } => shared.health.count_published(),
            Told::Published { outcome: Err(Refusal::Unknown), .. } => shared.health.count_unknown(),
            Told::Published { outcome: Err(_), .. } => shared.health.count_refused(),
            _ => {}
        }
    }
}
