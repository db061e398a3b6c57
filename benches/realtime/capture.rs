//! What writers lose where changes are captured: pgbench on the same table, with the stream and without it.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::site::Site;
use crate::{drained, line, median, setting, streaming};

const INSERT: &str = "insert into ticks (id, owner, body) values (nextval('bench'), 7, repeat('x', 160));\n";
const UPDATE: &str = "\\set id random(1, 20000)\nupdate ticks set body = repeat('y', 160), owner = owner + 1 where id = :id;\n";

/// Undoes what the server does so that changes can be captured.
const OFF: &str = "
    do $$ declare found record; begin
        for found in select pubname from pg_publication loop
            execute format('drop publication %I', found.pubname);
        end loop;
        -- The walsender of a server that was just stopped may hold its slot a moment longer.
        while exists (select from pg_replication_slots) loop
            begin
                perform pg_drop_replication_slot(slot_name) from pg_replication_slots;
            exception when object_in_use then perform pg_sleep(0.05);
            end;
        end loop;
    end $$;
    alter table ticks replica identity default";

/// The same rows for each turn.
const FRESH: &str = "
    truncate ticks;
    drop sequence if exists bench;
    create sequence bench start 20001 cache 1000;
    insert into ticks (id, owner, body) select n, 7, repeat('x', 160) from generate_series(1, 20000) n;
    vacuum analyze ticks;
    checkpoint";

pub async fn measure(site: &Site) {
    let admin = site.admin().await;
    let (insert, update) = (site.path("insert.sql"), site.path("update.sql"));
    std::fs::write(&insert, INSERT).unwrap();
    std::fs::write(&update, UPDATE).unwrap();
    let rounds = setting("ROUNDS", 3).min(5);
    let seconds = setting("SECONDS_EACH", 4);
    let (mut on, mut off) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut behind = Duration::ZERO;
    for _ in 0..rounds {
        for captured in [false, true] {
            admin.batch_execute(OFF).await.unwrap();
            let server = captured.then(|| site.serve());
            if server.is_some() {
                streaming(&admin).await;
            }
            for (which, script) in [&insert, &update].into_iter().enumerate() {
                for statement in FRESH.split(';') {
                    admin.batch_execute(statement).await.unwrap();
                }
                if captured {
                    drained(&admin, Duration::from_secs(60)).await;
                }
                let (rate, rates) = (bench(site, script, seconds), if captured { &mut on } else { &mut off });
                rates[which].push(rate);
                if captured {
                    behind = behind.max(drained(&admin, Duration::from_secs(60)).await);
                }
            }
        }
    }
    for (which, (what, goal)) in [("inserts", ">= 0.70"), ("updates", ">= 0.60")].into_iter().enumerate() {
        let (on, off) = (median(&mut on[which]), median(&mut off[which]));
        line(&format!("{what}/s captured, and not"), format!("{on:.0}"), format!("{off:.0}"), "");
        line(&format!("{what}/s: ratio of these"), format!("{:.2}", on / off), String::new(), goal);
    }
    line(
        "the stream was behind after a turn, ms",
        format!("{:.0}", behind.as_secs_f64() * 1e3),
        String::new(),
        "",
    );
}

/// Transactions a second, eight clients.
fn bench(site: &Site, script: &std::path::Path, seconds: usize) -> f64 {
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", &seconds.to_string(), "-f"])
        .arg(script)
        .arg(site.url())
        .stdin(Stdio::null())
        .output()
        .expect("pgbench is needed");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}
