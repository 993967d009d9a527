//! Asks the configured InfluxDB server step by step whether the gateway can write to it: is it there,
//! does it take the token, does it take a point, and does it give that point back.
//!
//! ```text
//! cargo run --example influx_health
//! cargo run --example influx_health -- --influxdb-url http://localhost:8086
//! ```
//!
//! It reads `config.toml`, the environment and the same flags as `fieldgate`, and uses the same
//! client. It ends with 0 when all is well, with 1 at the first step that fails, which it names with
//! what to do, and with 2 when the configuration is wrong. The point stays in the bucket, under the
//! measurement `fieldgate_health`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fieldgate::cli::ConfigArguments;
use fieldgate::config::{self, Config, Environment, Influxdb};
use fieldgate::sink::influx::line::LineFormat;
use fieldgate::sink::influx::{Answer, Client, query_client};
use fieldgate::telemetry::{Reading, Timestamp};
use influxdb2::models::Query;

/// A point that was taken can be read at once; on a small machine that is busy, soon after.
const READ_ATTEMPTS: u32 = 5;

/// Checks the configured InfluxDB server.
#[derive(Parser)]
#[command(name = "influx_health")]
struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

/// A step that failed: what was tried, why it failed, what to do.
struct Failed {
    step: &'static str,
    reason: String,
    advice: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // It needs no source, but a configuration does; one that is named by a flag wins.
    let mut overrides = Arguments::parse().config.overrides();
    overrides.assign("source.kind=stdin");
    let influxdb = match config::load(&overrides, &Environment::of_process()) {
        Ok(Config { influxdb, .. }) => influxdb.into_iter().next(),
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    let Some(influxdb) = influxdb else {
        eprintln!("No InfluxDB is configured: set influxdb.url or use --influxdb-url.");
        return ExitCode::from(2);
    };
    match check(influxdb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed {
            step,
            reason,
            advice,
        }) => {
            eprintln!("{step}: FAILED: {reason}.\n  {advice}");
            ExitCode::FAILURE
        }
    }
}

async fn check(config: Influxdb) -> Result<(), Failed> {
    let client = Client::new(&config).map_err(|error| Failed {
        step: "set-up",
        reason: error.to_string(),
        advice: "Change what the message names.",
    })?;
    client.reach().await.map_err(|answer| Failed {
        step: "health",
        reason: answer.reason().to_owned(),
        advice: "Is the server running, and is influxdb.url its address? \
                 `docker compose up -d influxdb` starts one.",
    })?;
    println!("health: {} answers.", config.url);

    // A write of nothing: rights are looked at before points.
    match client.write("").await {
        Answer::Accepted | Answer::BadPoints(_) => {}
        answer => {
            return Err(Failed {
                step: "token",
                reason: answer.reason().to_owned(),
                advice: "The token must be allowed to write to the bucket: `influx auth list` shows \
                         what it may do, `influx bucket list` what there is.",
            });
        }
    }
    println!("token: may write to bucket {:?}.", config.bucket);

    let value = write(&client, &config).await?;
    println!("write: a point of fieldgate_health with value {value} was taken.");
    read_back(&config, value).await?;
    println!("read: the same point came back.");
    Ok(())
}

/// Writes a point whose value nobody else writes.
async fn write(client: &Client, config: &Influxdb) -> Result<f64, Failed> {
    let now = Timestamp::now();
    // Milliseconds of the day: exact as f64.
    let value = (now.0 / 1_000_000 % 86_400_000) as f64;
    let reading = Reading {
        node: "influx_health".into(),
        metric: "fieldgate_health".into(),
        value,
    };
    let mut lines = String::new();
    let format = LineFormat::new(config.gateway.as_deref());
    format.push_reading(&mut lines, &reading, now, "test");
    match client.write(&lines).await {
        Answer::Accepted => Ok(value),
        answer => Err(Failed {
            step: "write",
            reason: answer.reason().to_owned(),
            advice: "The server's log says more; most often its disk is full, or the bucket holds \
                     points of this measurement with another type.",
        }),
    }
}

async fn read_back(config: &Influxdb, value: f64) -> Result<(), Failed> {
    let advice = "The gateway only writes, so this stops no data. A token may be allowed to write and \
                  not to read; a server that is no InfluxDB 2 may not speak Flux.";
    let failed = |reason| Failed {
        step: "read",
        reason,
        advice,
    };
    let client = query_client(config).map_err(|error| failed(error.to_string()))?;
    let bucket = config.bucket.replace('\\', "\\\\").replace('"', "\\\"");
    let query = format!(
        "from(bucket: \"{bucket}\")\n  |> range(start: -1h, stop: 1h)\n  \
         |> filter(fn: (r) => r._measurement == \"fieldgate_health\" and r._value == {value:.1})"
    );
    for _ in 0..READ_ATTEMPTS {
        let query = Query::new(query.clone());
        let records = client.query_raw(Some(query)).await;
        let records = records.map_err(|error| failed(error.to_string()))?;
        if !records.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(failed("the point is not there".to_owned()))
}
