//! From options to what is run: the servers, the load and the profile's measurement. Must never know how that is made.

use std::sync::Arc;
use std::time::Duration;

use super::bystanders::Steady;
use super::crowd::Rig;
use super::error::BenchError;
use super::fairness::Beside;
use super::figures::{Figure, Measurement};
use super::options::{
    CommonArgs, DrainArgs, EchoArgs, FanoutArgs, IdleArgs, ProfileArgs, PublishArgs, StormArgs,
    SubscribeArgs, seconds,
};
use super::publisher::PublishTarget;
use super::rounds::Side;
use super::target::{Target, TargetSpec};
use super::{drain, echo, fanout, idle, storm};

type Measure = Box<dyn FnMut(&Rig, &Arc<Target>) -> Result<Measurement, BenchError>>;

/// What is measured, and where.
pub(super) struct Plan {
    /// The second server, if there is one.
    pub(super) floor: Option<Arc<Target>>,
    /// What the profile can yield.
    pub(super) figures: &'static [Figure],
    /// The load in words.
    pub(super) load: String,
    server: Arc<Target>,
    measure: Measure,
}

impl Plan {
    /// Resolves the options.
    ///
    /// # Errors
    /// Options that make no sense, or addresses that cannot be resolved.
    pub(super) fn of(profile: &ProfileArgs) -> Result<Self, BenchError> {
        match profile {
            ProfileArgs::Echo(args) => Self::echo(args),
            ProfileArgs::Fanout(args) => Self::fanout(args, 0, fanout::FIGURES),
            ProfileArgs::Idle(args) => Self::idle(args),
            ProfileArgs::Storm(args) => Self::storm(args),
            ProfileArgs::Drain(args) => Self::drain(args),
            ProfileArgs::Slow(args) => Self::fanout(&args.fanout, args.slow_percent, fanout::SLOW_FIGURES),
        }
    }

    /// Measures one of the servers once.
    ///
    /// # Errors
    /// What the profile reports.
    pub(super) fn measure(&mut self, rig: &Rig, side: Side) -> Result<Measurement, BenchError> {
        match (side, &self.floor) {
            (Side::Floor, Some(floor)) => (self.measure)(rig, floor),
            (Side::Floor, None) | (Side::Server, _) => (self.measure)(rig, &self.server),
        }
    }

    fn echo(args: &EchoArgs) -> Result<Self, BenchError> {
        let EchoArgs { common, connections, depth, size, .. } = args;
        args.check().map_err(BenchError::Usage)?;
        let load = echo::Load {
            connections: *connections,
            depth: *depth,
            size: *size,
            rate: args.rate,
            warm_up: duration("--warm-up", args.warm_up)?,
            duration: duration("--seconds", args.seconds)?,
        };
        let talk = Talk { path: "/echo", checks: !args.no_echo_check, ..Talk::default() };
        let (server, floor) = targets(common, &talk)?;
        let pace = args.rate.map(|rate| format!(", {rate} a second")).unwrap_or_default();
        let threads =
            if common.threads > 1 { format!(", {} threads", common.threads) } else { String::new() };
        Ok(Self {
            server,
            floor,
            figures: echo::FIGURES,
            load: format!(
                "{connections} connections, {depth} in flight each, {size} bytes{pace}, {} s{threads}",
                args.seconds
            ),
            measure: Box::new(move |rig, target| echo::measure(rig, target, &load)),
        })
    }

    fn fanout(args: &FanoutArgs, slow_percent: u32, figures: &'static [Figure]) -> Result<Self, BenchError> {
        let FanoutArgs { common, subscribe, publish, own_channel, connections, burst, count, beside } = args;
        publish.check().map_err(BenchError::Usage)?;
        let load = fanout::Load {
            connections: *connections,
            rate: publish.rate.unwrap_or(FANOUT_RATE),
            burst: *burst,
            count: *count,
            size: publish.size,
            slow_percent,
            own_channels: own_channel.is_some(),
        };
        load.check().map_err(BenchError::Usage)?;
        let slow = if slow_percent > 0 { format!(" ({slow_percent} % not reading)") } else { String::new() };
        let channel = own_channel.as_ref().unwrap_or(&subscribe.channel);
        let whose = if load.own_channels { ", a channel each" } else { "" };
        let pace = if load.rate > 0.0 { format!("{} a second", load.rate) } else { "one by one".to_owned() };
        let talk = Talk {
            path: "/live",
            channel: Some(channel),
            subscribe: Some(subscribe),
            publish: Some(publish),
            checks: !publish.no_sequence_check,
        };
        let (server, floor) = targets(common, &talk)?;
        let beside = beside.map(|asking| beside_of(common, &talk, &load, asking)).transpose()?;
        Ok(Self {
            server,
            floor,
            figures,
            load: format!(
                "{connections} connections{whose}{slow}, {count} publish calls of {burst} x {} bytes, {pace}",
                load.size
            ),
            measure: Box::new(move |rig, target| match target.name {
                // The floor answers nobody and knows one channel.
                FLOOR => fanout::measure(rig, target, &load, None),
                _ => fanout::measure(rig, target, &load, beside.as_ref()),
            }),
        })
    }

    fn idle(args: &IdleArgs) -> Result<Self, BenchError> {
        let IdleArgs { common, subscribe, own_channel, connections, say, .. } = args;
        let load = idle::Load {
            connections: *connections,
            warm_up: duration("--warm-up", args.warm_up)?,
            hold: duration("--seconds", args.seconds)?,
            say: say.clone(),
        };
        let channel = own_channel.as_ref().unwrap_or(&subscribe.channel);
        let talk =
            Talk { path: "/live", channel: Some(channel), subscribe: Some(subscribe), ..Talk::default() };
        let (server, floor) = targets(common, &talk)?;
        Ok(Self {
            server,
            floor,
            figures: idle::FIGURES,
            load: format!("{connections} connections, channel {channel}, {} s", args.seconds),
            measure: Box::new(move |rig, target| match target.name {
                // The floor answers nobody.
                FLOOR => idle::measure(rig, target, &idle::Load { say: None, ..load.clone() }),
                _ => idle::measure(rig, target, &load),
            }),
        })
    }

    fn drain(args: &DrainArgs) -> Result<Self, BenchError> {
        let DrainArgs { common, subscribe, connections, seconds, drain_url } = args;
        if common.floor_url.is_some() {
            return Err(BenchError::Usage(
                "a second server is not measured with drain: it knows none".into(),
            ));
        }
        let talk = Talk {
            path: "/live",
            channel: Some(&subscribe.channel),
            subscribe: Some(subscribe),
            ..Talk::default()
        };
        let load = drain::Load {
            connections: *connections,
            over: duration("--seconds", *seconds)?,
            drain: PublishTarget::new(drain_url, &[], "{data}", "")?,
        };
        Ok(Self {
            server: targets(common, &talk)?.0,
            floor: None,
            figures: drain::FIGURES,
            load: format!("{connections} connections, sent away over {seconds} s"),
            measure: Box::new(move |rig, target| drain::measure(rig, target, &load)),
        })
    }

    fn storm(args: &StormArgs) -> Result<Self, BenchError> {
        let StormArgs { common, subscribe, publish, connections, stay, newcomers, .. } = args;
        publish.check().map_err(BenchError::Usage)?;
        let talk = Talk {
            path: "/live",
            channel: Some(&subscribe.channel),
            subscribe: Some(subscribe),
            checks: !publish.no_sequence_check,
            ..Talk::default()
        };
        let (server, floor) = targets(common, &talk)?;
        let rate = publish.rate.unwrap_or(STORM_RATE);
        if args.leave && rate <= 0.0 {
            return Err(BenchError::Usage("--rate must be above 0 for those who stay".into()));
        }
        let stay_channel = format!("{}-stay", subscribe.channel);
        let stay_talk = Talk { channel: Some(&stay_channel), publish: Some(publish), ..talk };
        let stay = Steady {
            target: targets(common, &stay_talk)?.0,
            subscribers: *stay,
            rate,
            size: publish.size,
            duration: storm::LEAD_IN + duration("--seconds", args.seconds)?,
        };
        let then = match args.leave {
            true => format!(
                ", then all leave, {} stay, {newcomers} come, {rate} publish calls a second",
                stay.subscribers
            ),
            false => String::new(),
        };
        let leave = storm::Leave { stay, newcomers: *newcomers };
        let load = storm::Load { connections: *connections, leave: args.leave.then_some(leave) };
        Ok(Self {
            server,
            floor,
            figures: storm::FIGURES,
            load: format!("{connections} connections at once{then}"),
            measure: Box::new(move |rig, target| match target.name {
                // The floor knows no channels, so nobody could stay without hearing what the others do.
                FLOOR => storm::measure(rig, target, &storm::Load { leave: None, ..load.clone() }),
                _ => storm::measure(rig, target, &load),
            }),
        })
    }
}

/// Those beside a fan-out: a small channel, and one that nobody publishes to.
fn beside_of(
    common: &CommonArgs,
    talk: &Talk<'_>,
    load: &fanout::Load,
    asking: u32,
) -> Result<Beside, BenchError> {
    if load.rate <= 0.0 {
        return Err(BenchError::Usage("--beside needs a --rate above 0, which says for how long".into()));
    }
    let of = |suffix: &str| {
        let channel = format!("{}-{suffix}", talk.channel.unwrap_or_default());
        targets(common, &Talk { channel: Some(&channel), ..*talk }).map(|(server, _)| server)
    };
    let few = Steady {
        target: of("few")?,
        subscribers: BESIDE_FEW,
        rate: BESIDE_RATE,
        size: load.size,
        duration: Duration::from_secs_f64(f64::from(load.count) / load.rate),
    };
    Ok(Beside { target: of("beside")?, asking, few })
}

/// What a profile says to a server.
#[derive(Debug, Clone, Copy, Default)]
struct Talk<'a> {
    /// Path where none is given.
    path: &'a str,
    channel: Option<&'a str>,
    subscribe: Option<&'a SubscribeArgs>,
    publish: Option<&'a PublishArgs>,
    /// Whether what comes is compared with what should come.
    checks: bool,
}

/// The server and, where one is named, the floor. The floor confirms no subscription and echoes from a can.
fn targets(common: &CommonArgs, talk: &Talk<'_>) -> Result<(Arc<Target>, Option<Arc<Target>>), BenchError> {
    let channel = talk.channel.unwrap_or_default();
    let url_default = format!("ws://127.0.0.1:8080{}", talk.path);
    let publish = talk
        .publish
        .map(|args| PublishTarget::new(&args.publish_url, &args.publish_header, &args.publish_body, channel));
    let server = TargetSpec {
        name: SERVER,
        url: common.url.as_deref().unwrap_or(&url_default),
        path: common.path.as_deref(),
        headers: &common.header,
        channel: talk.channel,
        subscribe_frame: talk.subscribe.and_then(|args| args.subscribe_frame.as_deref()),
        confirmation: talk.subscribe.map(|args| args.confirmation.as_str()),
        pids: &common.server_pid,
        publish: publish.transpose()?,
        checks: talk.checks,
        sources_named: common.source.is_some(),
    };
    let Some(floor_url) = &common.floor_url else { return Ok((Arc::new(Target::new(server)?), None)) };
    let publish = talk.publish.and_then(|args| {
        let url = args.floor_publish_url.as_ref()?;
        Some(PublishTarget::new(url, &[], &args.floor_publish_body, channel))
    });
    let floor = TargetSpec {
        name: FLOOR,
        url: floor_url,
        subscribe_frame: None,
        confirmation: None,
        pids: &common.floor_pid,
        publish: publish.transpose()?,
        // Sequences are checked, echoes are not.
        checks: talk.checks && talk.publish.is_some(),
        ..server.clone()
    };
    Ok((Arc::new(Target::new(server)?), Some(Arc::new(Target::new(floor)?))))
}

fn duration(option: &str, value: f64) -> Result<Duration, BenchError> {
    seconds(option, value).map_err(BenchError::Usage)?;
    Ok(Duration::from_secs_f64(value))
}

const SERVER: &str = "server";
const FLOOR: &str = "floor";
/// Publish calls a second.
const FANOUT_RATE: f64 = 5.0;
/// Publish calls a second to those who stay: often enough to see a gap of 50 ms.
const STORM_RATE: f64 = 100.0;
/// Subscribers of the small channel beside a fan-out.
const BESIDE_FEW: u32 = 10;
/// Publish calls a second to them.
const BESIDE_RATE: f64 = 20.0;
