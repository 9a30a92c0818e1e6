//! The log of a node: to standard error as text or JSON, or to the journal of systemd. Must never know who logs what, nor let one
//! kind of line drown the others.
//!
//! Only what roost itself says is written: libraries may show headers or addresses with secrets in them.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt, reload};

use super::log_rates::{Kind, LeftOut, Rates};
use crate::config::{LogFormat, LogLevel};

/// The log of this process, to change its level.
pub(super) struct Log(reload::Handle<LevelFilter, Registry>);

/// Starts the log of this process.
///
/// # Errors
/// When there is no journal to write to.
pub(super) fn start(level: LogLevel, format: LogFormat) -> Result<Log, String> {
    let (level, handle) = reload::Layer::new(filter(level));
    let subscriber = Registry::default().with(level).with(Calm::new(lines(format)?));
    // Not by way of `init`, which would take in what libraries say over another interface.
    match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => Ok(Log(handle)),
        Err(error) => Err(format!("the log of this process was started already: {error}")),
    }
}

impl Log {
    /// From now on this is the least weight of what is logged.
    pub(super) fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.modify(|filter| *filter = self::filter(level)) {
            tracing::error!(%error, "the log keeps its level");
        }
    }
}

/// What writes a line.
fn lines<S>(format: LogFormat) -> Result<Box<dyn Layer<S> + Send + Sync>, String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let text = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    Ok(match format {
        LogFormat::Text => text.boxed(),
        LogFormat::Json => text.json().flatten_event(true).boxed(),
        LogFormat::Journald => {
            let journal = tracing_journald::layer().map_err(|error| {
                format!("log_format: journald: there is no journal here ({error}): use text or json")
            })?;
            journal
                .with_field_prefix(Some("ROOST".to_owned()))
                .with_syslog_identifier("roost".to_owned())
                .boxed()
        }
    })
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Passes on what its rates allow, and says how much they did not.
struct Calm<L> {
    inner: L,
    rates: Mutex<Rates>,
    began: Instant,
}

impl<L> Calm<L> {
    fn new(inner: L) -> Self {
        Self { inner, rates: Mutex::new(Rates::default()), began: Instant::now() }
    }
}

impl<S, L> Layer<S> for Calm<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with(env!("CARGO_PKG_NAME")) {
            return;
        }
        if metadata.target() == OWN {
            return self.inner.on_event(event, context);
        }
        let now_ms = self.began.elapsed().as_millis() as u64;
        // Not held while anything is written: what is said of the others comes back here.
        let verdict = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.count(kind(metadata), now_ms)
        };
        verdict.left_out.iter().for_each(say);
        if verdict.passes {
            self.inner.on_event(event, context);
        }
    }
}

/// Where in the program it is said, and with what weight.
fn kind(metadata: &'static Metadata<'static>) -> Kind {
    Kind { level: *metadata.level(), target: metadata.target(), line: metadata.line().unwrap_or_default() }
}

/// Says that lines were left out, with the weight that they had.
fn say(LeftOut { kind: Kind { level, target, line }, count }: &LeftOut) {
    macro_rules! say {
        ($level:expr) => {
            tracing::event!(
                target: OWN, $level, left_out = count, like = format!("{target}:{line}"), "lines of one kind were left out"
            )
        };
    }
    match *level {
        Level::ERROR => say!(Level::ERROR),
        Level::WARN => say!(Level::WARN),
        Level::INFO => say!(Level::INFO),
        Level::DEBUG => say!(Level::DEBUG),
        Level::TRACE => say!(Level::TRACE),
    }
}

/// The target of what the log says of itself.
const OWN: &str = "roost::log";
