//! What the node that runs under this configuration says of itself, in its `/metrics`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Finding, Level};
use crate::config::Config;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A page of metrics is a few kilobytes.
const LONGEST_PAGE: u64 = 1 << 20;

/// How far the node is behind the database. Only it knows what it has heard.
pub(super) async fn node(config: &Config) -> Finding {
    let Some(address) = &config.metrics.listen else {
        let detail = "what it last heard only it knows: set metrics.listen, and it is asked";
        return Finding::new("this node", Level::Ok, detail);
    };
    match timeout(PATIENCE, page(address)).await {
        Ok(Ok(page)) => behind(&page, config),
        Ok(Err(error)) => Finding::new(
            "this node",
            Level::Ok,
            format!("no process answers at {address} (metrics.listen): {error}"),
        ),
        Err(_) => Finding::new(
            "this node",
            Level::Warn,
            format!("the process at {address} (metrics.listen) does not answer"),
        ),
    }
}

async fn page(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let ask = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).await?;
    let mut answer = String::new();
    stream
        .take(LONGEST_PAGE)
        .read_to_string(&mut answer)
        .await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, page)) if head.starts_with("HTTP/1.1 200 ") => Ok(page.to_owned()),
        _ => Err(io::Error::other("it is not Tollgate's /metrics")),
    }
}

fn behind(page: &str, config: &Config) -> Finding {
    let number = |name: &str| -> Option<f64> {
        let mut lines = page.lines();
        let line = lines.find_map(|line| line.strip_prefix("tollgate_")?.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let ages = [
        number("node_beat_age_seconds "),
        number("node_news_age_seconds "),
    ];
    let [Some(beat), Some(news)] = ages else {
        let detail = "it runs, and has not been confirmed by the database yet";
        return Finding::new("this node", Level::Warn, detail);
    };
    let peers = number("node_peers ").unwrap_or(0.0);
    let detail = format!(
        "its last sign of life was {beat:.1} s ago, it read all news {news:.1} s ago, and it sees \
         {peers} other nodes"
    );
    let policy = config.lease.shared(config.node.silence_s);
    let fresh = policy
        .staleness
        .map_or(f64::MAX, |stale| stale.fresh_for.as_seconds_f64());
    if beat.max(news) > fresh {
        let detail = format!("{detail}: from {fresh} s on it admits only what [lease] allows");
        return Finding::new("this node", Level::Warn, detail);
    }
    Finding::new("this node", Level::Ok, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(beat: &str, news: &str) -> Finding {
        let page = format!(
            "# TYPE tollgate_node_beat_age_seconds gauge\ntollgate_node_beat_age_seconds {beat}\n\
             tollgate_node_news_age_seconds {news}\ntollgate_node_peers 2\n"
        );
        behind(&page, &Config::default())
    }

    #[test]
    fn a_node_that_hears_nothing_is_worth_knowing() {
        let fine = said("0.412", "0.180");
        assert_eq!(fine.level, Level::Ok, "{}", fine.detail);
        assert!(fine.detail.contains("0.4 s ago") && fine.detail.contains("2 other nodes"));
        for (beat, news) in [("7.0", "0.1"), ("0.1", "7.0")] {
            let cut_off = said(beat, news);
            assert_eq!(cut_off.level, Level::Warn, "{}", cut_off.detail);
            assert!(cut_off.good, "a person cannot mend it here");
        }
        assert_eq!(behind("", &Config::default()).level, Level::Warn);
    }
}
