//! What the database server uses beside this process.

/// CPU seconds that the sessions on a database have used so far, where the server is on this
/// machine and its processes can be seen; the server's own work (log writer, vacuum) is not in it.
pub(crate) fn cpu_seconds(database: &str) -> f64 {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0.0;
    };
    let of_session = |folder: std::path::PathBuf| {
        let title = std::fs::read_to_string(folder.join("cmdline")).ok()?;
        let is_ours = title.starts_with("postgres: ") && title.split(' ').any(|w| w == database);
        let stat = is_ours.then(|| std::fs::read_to_string(folder.join("stat")))?;
        let stat = stat.ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        Some(ticks.map(|t| t.parse::<f64>().unwrap_or(0.0)).sum::<f64>() / 100.0)
    };
    let folders = processes.flatten().map(|entry| entry.path());
    folders.filter_map(of_session).sum()
}
