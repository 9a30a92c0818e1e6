//! Which server is the broker: the one that was named, or the one that Sentinel calls the master at the moment. Must never serve.

use crate::config::BrokerAddr;
use crate::limits::BROKER_TIMEOUT_MS;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, cmd};
use std::time::Duration;
use tokio::time::timeout;

/// The broker, as an operator names it.
#[derive(Debug)]
pub(super) struct Target {
    addr: BrokerAddr,
}

impl Target {
    /// # Errors
    /// Where the library cannot read an address.
    pub(super) fn new(addr: &BrokerAddr) -> RedisResult<Self> {
        match addr.sentinels() {
            Some((sentinels, _)) => sentinels.into_iter().try_for_each(|url| Client::open(url).map(drop))?,
            None => _ = Client::open(addr.url_at(&addr.hosts()[0]))?,
        }
        Ok(Self { addr: addr.clone() })
    }

    /// The server, by now. Sentinels are asked in the order in which they were named, until one knows.
    ///
    /// # Errors
    /// What the last one said, if none knows.
    pub(super) async fn find(&self) -> RedisResult<Client> {
        let Some((sentinels, master)) = self.addr.sentinels() else {
            return Client::open(self.addr.url_at(&self.addr.hosts()[0]));
        };
        let mut failure = RedisError::from((ErrorKind::Io, "there is no Sentinel"));
        for url in sentinels {
            let asked = timeout(Duration::from_millis(BROKER_TIMEOUT_MS / 2), ask(url, master)).await;
            match asked.unwrap_or_else(|_| Err((ErrorKind::Io, "a Sentinel does not answer in time").into()))
            {
                Ok(host) => return Client::open(self.addr.url_at(&host)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Where the master is, as one Sentinel knows it (Redis documentation, "Sentinel clients").
async fn ask(url: String, master: &str) -> RedisResult<String> {
    let config = AsyncConnectionConfig::new();
    let mut connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    let known: Option<(String, u16)> = question.query_async(&mut connection).await?;
    match known {
        Some((host, port)) if host.contains(':') => Ok(format!("[{host}]:{port}")),
        Some((host, port)) => Ok(format!("{host}:{port}")),
        None => Err((ErrorKind::Client, "Sentinel knows no master of that name").into()),
    }
}
