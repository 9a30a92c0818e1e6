//! Wires a node: descriptors, listeners, mailboxes, shards, the control thread. Must never serve anything itself.

mod broker;
mod error;
mod limits;
mod listeners;
mod passed;

pub use error::NodeError;

use crate::capacity::{self, Host, Plan};
use crate::cluster::Cluster;
use crate::config::{Config, Reloaded};
use crate::control::{self, AllSignals, Control, Reload, Reloader, token_keys};
use crate::hub::ShardId;
use crate::hub::names::Names;
use crate::proto::origin::OriginPolicy;
use crate::reactor::acceptor::Acceptor;
use crate::reactor::clock::Clock;
use crate::reactor::gate::Gate;
use crate::reactor::mailbox::Mailbox;
use crate::reactor::post_office::{Broker, PostOffice};
use crate::reactor::queued::Queued;
use crate::reactor::reserve::Reserve;
use crate::reactor::steering::Steering;
use crate::reactor::{self, Entrance, Reactor};
use crate::shard::Settings;
use crate::shard::mail::Rules;
use crate::sys::descriptors::{self, Raised};
use crate::sys::fd_table;
use crate::sys::memory;
use crate::sys::signals::Signals;
use crate::tokens::Keys;
use listeners::{Public, listen_api, listen_public};
use mio::{Poll, Waker};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

/// Runs a node until a signal ends it. Prints its addresses on standard output once it serves: `public ADDR` and
/// `api ADDR`, with ` from systemd` behind those of sockets that systemd has passed, of which there may be several public ones.
///
/// `read_anew` reads the configuration again, as SIGHUP asks for; its error is what is wrong with it.
/// `taken_over` is told of each that is in force from then on.
///
/// # Errors
/// When it cannot start, or when the control thread's poll fails.
pub fn run(
    config: Config,
    read_anew: impl Fn() -> Result<Config, String> + 'static,
    taken_over: impl Fn(&Config) + 'static,
) -> Result<(), NodeError> {
    // Before any thread: it changes the environment. And before anything is opened that could take their numbers.
    let sockets = passed::take()?;
    // Then this, so that a signal during the start is not lost.
    let signals = catch_signals().map_err(|error| NodeError::System("signals", error))?;
    let raised = descriptors::raise().map_err(|error| NodeError::System("descriptor limits", error))?;
    let plan = plan(&config, raised)?;
    let origins = OriginPolicy::parse(&config.origins).map_err(NodeError::Origins)?;
    let keys = token_keys::read(&config).map_err(NodeError::TokenKey)?;
    let from_systemd = FromSystemd { public: !sockets.public.is_empty(), api: sockets.api.is_some() };
    let Public { doors, addresses } = listen_public(&config, plan, sockets.public)?;
    let (api, api_address) = listen_api(&config, sockets.api)?;
    let clock = Clock::start();
    let names = Names::new(random());
    let cluster = broker::prepare(&config)?;
    let (office, control_poll, polls) = open_office(plan, config.queue_total_bytes, cluster.as_ref())?;
    let template = template(&config, plan, origins, names, keys);
    let mut reactors = Vec::with_capacity(plan.shards);
    // One for each descriptor table. The control thread's is that of all where no shard has its own.
    let reserve = Arc::new(Reserve::default());
    for (index, (poll, doors)) in polls.into_iter().zip(doors).enumerate() {
        let settings = Settings { id: ShardId(index as u16), own_seed: random(), ..template.clone() };
        let reserve = if plan.own_tables { Arc::default() } else { reserve.clone() };
        let entrance = Entrance { doors, reserve, refused_max: plan.refused_per_shard_max };
        let reactor = Reactor::new(settings, poll, entrance, office.clone(), clock);
        reactors.push(reactor.map_err(|error| NodeError::System("a shard's poll", error))?);
    }
    let settings = control::Settings {
        node: config.node.as_str().into(),
        queue_soft_bytes: config.queue_soft_bytes,
        connections_max: plan.conns_max,
        queued_bytes_max: config.queue_total_bytes,
        drain_delay: config.drain_delay,
        drain_over: config.drain_over,
        names,
        policies: config.policies.clone(),
        ipv6: addresses.iter().any(SocketAddr::is_ipv6),
        own_tables: plan.own_tables,
        broker: cluster.as_ref().map(Cluster::health),
    };
    let api = Acceptor::new(api, reserve, office.complaint.clone());
    let reload = reloader(config.clone(), read_anew, taken_over);
    let control = Control::new(settings, reload, control_poll, api, signals, office.clone(), clock)
        .map_err(|error| NodeError::System("the control thread's poll", error))?;
    start(reactors, plan)?;
    broker::start(cluster, office, names)?;
    limits::warn(&config, raised, plan);
    tell_room(raised, plan);
    announce(&config.node, from_systemd, &addresses, &api_address);
    control.run().map_err(|error| NodeError::System("the control thread's poll", error))
}

fn catch_signals() -> io::Result<AllSignals> {
    Ok(AllSignals { ends: Signals::catch_ends()?, reloads: Signals::catch_reloads()? })
}

/// Reads the configuration anew whenever it is called. `in_force` is what the node runs with by then.
fn reloader(
    mut in_force: Config,
    read_anew: impl Fn() -> Result<Config, String> + 'static,
    taken_over: impl Fn(&Config) + 'static,
) -> Reloader {
    Box::new(move || {
        let read = || -> Result<(Reloaded, Rules), String> {
            let reloaded = in_force.reload(read_anew()?);
            let rules = rules(&reloaded.config)?;
            Ok((reloaded, rules))
        };
        match read() {
            Ok((Reloaded { config, taken, kept }, rules)) => {
                if !kept.is_empty() {
                    tracing::warn!(?kept, "these options change with the next start only");
                }
                tracing::info!(?taken, "the configuration was read anew");
                let (drain_delay, drain_over) = (config.drain_delay, config.drain_over);
                in_force = config;
                taken_over(&in_force);
                Some(Reload { rules, drain_delay, drain_over })
            }
            Err(error) => {
                tracing::error!(error, "the configuration cannot be run with: nothing has changed");
                None
            }
        }
    })
}

/// What shards are told of a configuration that was read anew.
fn rules(config: &Config) -> Result<Rules, String> {
    let origins =
        OriginPolicy::parse(&config.origins).map_err(|error| NodeError::Origins(error).to_string())?;
    let keys = token_keys::read(config).map_err(|error| NodeError::TokenKey(error).to_string())?;
    let limits = config.limits(0);
    Ok(Rules {
        message_bytes_max: limits.message_bytes_max,
        queue_soft_bytes: limits.queue_soft_bytes,
        queue_soft_for_ms: limits.queue_soft_for_ms,
        queue_hard_bytes: limits.queue_hard_bytes,
        age_max_ms: limits.age_max_ms,
        policies: config.policies.clone(),
        origins,
        keys: Arc::new(keys),
        demands: Arc::new(token_keys::demands(config)),
        echo: config.echo,
        demo: config.demo,
    })
}

/// Measures the host and finds room for what was asked for.
fn plan(config: &Config, raised: Raised) -> Result<Plan, NodeError> {
    let files = memory::open_files();
    let mut host = Host {
        descriptors: raised.to as usize,
        separable: false,
        files: files.left,
        files_max: files.max,
        memory_bytes: memory::total_bytes(),
    };
    let (wanted, shards) = (config.max_connections, config.shards);
    // Asked only where it matters: some filters end a process for the question.
    host.separable = wanted > capacity::one_table(shards, host) && fd_table::is_separable();
    let plan = capacity::plan(wanted, shards, host).map_err(|short| NodeError::Room(wanted, short))?;
    if plan.conns_max < wanted {
        tracing::warn!(
            wanted,
            connections = plan.conns_max,
            "this host refuses descriptor tables of their own to threads (close_range and unshare): \
             the node runs within one table; raise the hard limit (LimitNOFILE=) or allow the calls"
        );
    }
    Ok(plan)
}

/// All polls and mailboxes, made before any thread: every thread can then wake every other.
fn open_office(
    plan: Plan,
    queue_total_bytes: usize,
    cluster: Option<&Cluster>,
) -> Result<(Arc<PostOffice>, Poll, Vec<Poll>), NodeError> {
    let shards = plan.shards;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let open = || -> io::Result<_> {
        let control_poll = Poll::new()?;
        let control = Mailbox::new(Waker::new(control_poll.registry(), control::MAILBOX)?);
        let mut office = PostOffice {
            shards: Vec::with_capacity(shards),
            control,
            queued: Queued::new(shards, queue_total_bytes),
            gate: Gate::new(shards, cores),
            steering: Steering::new(shards as u16, plan.conns_max),
            complaint: Arc::default(),
            broker: cluster.map(|cluster| Box::new(cluster.line()) as Box<dyn Broker>),
        };
        let mut polls = Vec::with_capacity(shards);
        for _ in 0..shards {
            let poll = Poll::new()?;
            office.shards.push(Mailbox::new(Waker::new(poll.registry(), reactor::MAILBOX)?));
            polls.push(poll);
        }
        Ok((Arc::new(office), control_poll, polls))
    };
    open().map_err(|error| NodeError::System("polls", error))
}

fn template(config: &Config, plan: Plan, origins: OriginPolicy, names: Names, keys: Keys) -> Settings {
    Settings {
        id: ShardId(0),
        shards: plan.shards as u16,
        limits: config.limits(plan.conns_per_shard_max),
        policies: config.policies.clone(),
        origins,
        keys: Arc::new(keys),
        demands: Arc::new(token_keys::demands(config)),
        echo: config.echo,
        demo: config.demo,
        node: config.node.as_str().into(),
        names,
        brokered: config.broker.is_some(),
        own_seed: 0,
    }
}

/// Starts every shard's thread. With tables of their own, all threads part from this one before any goes on, and this
/// one then forgets what is theirs.
fn start(reactors: Vec<Reactor>, plan: Plan) -> Result<(), NodeError> {
    let theirs: Vec<Vec<RawFd>> = reactors.iter().map(Reactor::descriptors).collect();
    let (parted, all_parted) = mpsc::channel();
    for (index, reactor) in reactors.into_iter().enumerate() {
        let foreign: Vec<RawFd> = theirs
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .flat_map(|(_, fds)| fds.clone())
            .collect();
        let parted = parted.clone();
        spawn(reactor, move || {
            let outcome = if plan.own_tables { part(&foreign) } else { Ok(()) };
            let goes_on = outcome.is_ok();
            // When nobody listens any more the node has given up starting.
            parted.send(outcome).is_ok() && goes_on
        })?;
    }
    for _ in 0..plan.shards {
        let outcome = all_parted.recv().unwrap_or_else(|error| Err(io::Error::other(error)));
        outcome.map_err(|error| NodeError::System("a descriptor table for a shard", error))?;
    }
    if plan.own_tables {
        fd_table::close_copies(&theirs.concat());
    }
    Ok(())
}

fn part(foreign: &[RawFd]) -> io::Result<()> {
    fd_table::unshare_fd_table()?;
    fd_table::close_copies(foreign);
    Ok(())
}

/// A shard's thread. When its structures are broken the process ends: others cannot be served from them either, and
/// whoever supervises the node starts it anew.
fn spawn(reactor: Reactor, prepare: impl FnOnce() -> bool + Send + 'static) -> Result<(), NodeError> {
    let name = format!("shard-{}", reactor.id().0);
    let run = move || prepare().then(|| reactor.run());
    let body = move || match catch_unwind(AssertUnwindSafe(run)) {
        Ok(None) => {}
        Ok(Some(Ok(never))) => match never {},
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "a shard's poll failed");
            std::process::abort();
        }
        // The panic hook has said where.
        Err(_) => std::process::abort(),
    };
    let spawned = thread::Builder::new().name(name).stack_size(SHARD_STACK_BYTES).spawn(body);
    spawned.map(drop).map_err(|error| NodeError::System("a shard's thread", error))
}

fn tell_room(raised: Raised, plan: Plan) {
    let Raised { from, to, hard } = raised;
    let Plan { shards, own_tables, conns_max, .. } = plan;
    tracing::info!(from, to, hard, "descriptor limit of a table");
    tracing::info!(shards, own_tables, connections = conns_max, "room");
}

/// Which sockets systemd has passed.
#[derive(Debug, Clone, Copy)]
struct FromSystemd {
    public: bool,
    api: bool,
}

fn announce(node: &str, from: FromSystemd, public: &[SocketAddr], api: &str) {
    let all = public.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
    let from_systemd = match (from.public, from.api) {
        (true, true) => Some("public api"),
        (true, false) => Some("public"),
        (false, true) => Some("api"),
        (false, false) => None,
    };
    tracing::info!(public = %all, api, node, from_systemd, "serving");
    let behind = |passed: bool| if passed { " from systemd" } else { "" };
    let mut text: String =
        public.iter().map(|one| format!("public {one}{}\n", behind(from.public))).collect();
    text += &format!("api {api}{}\n", behind(from.api));
    let mut out = io::stdout().lock();
    // Whoever started us without a standard output does not need the addresses.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A number from the operating system, by way of std's own hasher keys.
fn random() -> u64 {
    fastrand::Rng::new().u64(..) ^ std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8)
}

/// Stack of a shard's thread, in bytes: nothing in a shard recurses by what a peer sends.
const SHARD_STACK_BYTES: usize = 1024 * 1024;
