//! docker-compose.yml, its broker's configuration and its dashboards, held to what the gateway
//! reads, writes and accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use fieldgate::config::{self, Config, Environment, Overrides, Source};
use fieldgate::sink::influx::line::LineFormat;
use fieldgate::telemetry::{MetricTable, Name, Reading, Timestamp};
use regex::Regex;
use serde_json::Value;

use crate::support::{Mosquitto, PATIENCE, Point, Subscriber, parse_lines};

const DASHBOARDS: &str = "assets/grafana/dashboards";
const DATA_SOURCE: &str = "assets/grafana/provisioning/datasources/influxdb.yml";
const PROVIDER: &str = "assets/grafana/provisioning/dashboards/fieldgate.yml";

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn services() -> Value {
    yaml("docker-compose.yml")["services"].take()
}

fn strings(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn every_server_is_published_on_loopback_alone_checked_and_kept() {
    let services = services();
    let volumes = yaml("docker-compose.yml")["volumes"].take();
    for (name, port, data) in [
        ("mosquitto", "1883", "/mosquitto/data"),
        ("influxdb", "8086", "/var/lib/influxdb2"),
        ("grafana", "3000", "/var/lib/grafana"),
    ] {
        let service = &services[name];
        let published = format!("127.0.0.1:{port}:{port}");
        assert_eq!(strings(&service["ports"]), [published], "{name}");
        assert_eq!(strings(&service["healthcheck"]["test"])[0], "CMD", "{name}");
        assert!(service["profiles"].is_null(), "{name} is always wanted");
        let kept = strings(&service["volumes"]).into_iter().find_map(|mount| {
            let (volume, target) = mount.split_once(':')?;
            (target == data).then_some(volume)
        });
        let kept = kept.unwrap_or_else(|| panic!("{name} forgets {data}"));
        assert!(volumes.as_object().unwrap().contains_key(kept), "{kept}");
    }
    for name in ["fieldgate", "simulator"] {
        assert!(services[name]["ports"].is_null(), "{name}");
    }
}

#[test]
fn every_file_that_is_mounted_is_there() {
    let services = services();
    let mut mounted = 0;
    for service in services.as_object().unwrap().values() {
        for mount in strings(&service["volumes"]) {
            if let Some((path, _)) = mount.split_once(':')
                && path.starts_with('.')
            {
                assert!(Path::new(path).exists(), "{mount}");
                mounted += 1;
            }
        }
    }
    assert_eq!(mounted, 3);
}

#[test]
fn influxdb_is_set_up_as_the_others_expect_it() {
    let services = services();
    let set_up = &services["influxdb"]["environment"];
    for (name, value) in [
        ("MODE", "setup"),
        ("USERNAME", "admin"),
        ("PASSWORD", "admin123456"),
        ("ORG", "my-org"),
        ("BUCKET", "telemetry"),
        ("ADMIN_TOKEN", "my-super-secret-auth-token"),
    ] {
        assert_eq!(set_up[format!("DOCKER_INFLUXDB_INIT_{name}")], value);
    }
    let token = &set_up["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"];
    assert_eq!(&services["grafana"]["environment"]["INFLUXDB_TOKEN"], token);

    let source = &yaml(DATA_SOURCE)["datasources"][0];
    assert_eq!(source["url"], "http://influxdb:8086");
    assert_eq!(source["jsonData"]["organization"], "my-org");
    assert_eq!(source["jsonData"]["defaultBucket"], "telemetry");
    assert_eq!(source["jsonData"]["version"], "Flux");
    assert_eq!(source["secureJsonData"]["token"], "$INFLUXDB_TOKEN");
}

/// The configuration that a gateway in a container starts with.
fn config_of(service: &Value) -> Config {
    let variables = service["environment"].as_object().unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    let environment: Environment = variables
        .chain([("STATE_DIRECTORY", "/var/lib/fieldgate")])
        .collect();
    config::load(&Overrides::default(), &environment).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_gateway_in_a_container_finds_the_servers() {
    let services = services();
    let mut client_ids = BTreeSet::new();
    for name in ["fieldgate", "simulator"] {
        let service = &services[name];
        assert_eq!(service["build"], ".");
        assert_eq!(strings(&service["profiles"]).len(), 1, "{name}");
        let mounts = strings(&service["volumes"]);
        assert!(mounts[0].ends_with(":/var/lib/fieldgate"), "{mounts:?}");
        let config = config_of(service);
        let mqtt = config.mqtt.into_iter().next().unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.port), ("mosquitto", 1883));
        client_ids.insert(mqtt.client_id);
        let influxdb = config.influxdb.into_iter().next().unwrap();
        assert_eq!(influxdb.url.as_str(), "http://influxdb:8086/");
        assert_eq!((&*influxdb.org, &*influxdb.bucket), ("my-org", "telemetry"));
        assert_eq!(
            service["environment"]["INFLUXDB_TOKEN"],
            services["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"]
        );
        let is_serial = matches!(config.sources[0].source, Source::Serial(_));
        assert_eq!(is_serial, name == "fieldgate");
        assert_eq!(!service["devices"].is_null(), is_serial, "{name}");
    }
    assert_eq!(client_ids.len(), 2, "they would take each other's place");
}

#[test]
fn the_image_is_built_apart_and_runs_as_nobody_special() {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let stages: Vec<&str> = dockerfile.split("\nFROM ").skip(1).collect();
    assert_eq!(stages.len(), 2);
    let last = stages[1];
    assert!(last.contains("COPY --from=build /usr/local/bin/fieldgate"));
    let user = last.lines().position(|line| line == "USER fieldgate");
    let entrypoint = last
        .lines()
        .position(|line| line.starts_with("ENTRYPOINT [\"fieldgate\"]"));
    assert!(user.unwrap() < entrypoint.unwrap());
    let rust = format!("FROM rust:{}", env!("CARGO_PKG_RUST_VERSION"));
    assert!(dockerfile.contains(&rust), "built with another Rust");
}

#[test]
fn the_broker_of_the_container_takes_and_keeps_messages() {
    let text = fs::read_to_string("assets/mosquitto/mosquitto.conf").unwrap();
    let mut broker = Mosquitto::start_with_config(|port, folder| {
        let text = text
            .replace("listener 1883\n", &format!("listener {port} 127.0.0.1\n"))
            .replace("/mosquitto/data/\n", &format!("{folder}/\n"));
        assert!(text.contains(folder) && text.contains(&port.to_string()));
        text
    });
    let published = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port().to_string()])
        .args([
            "-t",
            "iiot/node1/temperature",
            "-m",
            "27.6",
            "-r",
            "-q",
            "1",
        ])
        .status();
    assert!(published.unwrap().success());
    broker.restart();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let kept = &subscriber.wait_for_count(1, PATIENCE)[0];
    assert_eq!((kept.payload.as_str(), kept.retained), ("27.6", true));
}

/// Name and query of every panel and variable, by dashboard.
fn dashboards() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(DASHBOARDS).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let dashboard = serde_json::from_str(&fs::read_to_string(&path).unwrap());
            (name, dashboard.unwrap())
        })
        .collect()
}

fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        let mut add = |what: &Value, query: &Value| {
            let what = format!("{name}: {}", what.as_str().unwrap());
            queries.push((what, query.as_str().unwrap().to_owned()));
        };
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            add(&variable["name"], &variable["query"]);
        }
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                add(&panel["title"], &target["query"]);
            }
        }
    }
    assert!(queries.len() > 20);
    queries
}

#[test]
fn dashboards_are_provisioned_with_their_data_source() {
    let source = &yaml(DATA_SOURCE)["datasources"][0];
    let folder = yaml(PROVIDER)["providers"][0]["options"]["path"].take();
    let folder = folder.as_str().unwrap();
    let services = services();
    let mounts = strings(&services["grafana"]["volumes"]);
    let mount = format!("./{DASHBOARDS}:{folder}:ro");
    assert!(mounts.contains(&mount.as_str()), "{mounts:?}");

    let dashboards = dashboards();
    let names: Vec<&str> = dashboards.keys().map(String::as_str).collect();
    assert_eq!(names, ["environment", "gateway-health", "radio-link"]);
    let home = &services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(home, &format!("{folder}/environment.json"));
    for (name, dashboard) in &dashboards {
        assert_eq!(dashboard["uid"], format!("fieldgate-{name}"));
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert_eq!(panel["datasource"]["uid"], source["uid"]);
            assert_eq!(panel["datasource"]["type"], source["type"]);
            let side = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{name}: {}", panel["title"]);
                }
            }
        }
    }
}

/// A point of each built-in metric, as a server reads what the gateway writes.
fn written() -> Vec<Point> {
    let metrics = MetricTable::default();
    let mut lines = String::new();
    for key in MetricTable::built_in_keys() {
        let node = match key.split_once('.') {
            None => "node1",
            Some(("sig", _)) => "signal",
            Some(_) => "stats",
        };
        let reading = Reading {
            node: Name::new(node),
            metric: metrics.by_key(key).unwrap().name.clone(),
            value: 1.0,
        };
        let sensor_type = metrics.sensor_type(&reading.metric);
        LineFormat::default().push_reading(&mut lines, &reading, Timestamp(1), sensor_type);
    }
    parse_lines(&lines).unwrap()
}

/// A column of a point, as Flux names it.
fn column<'a>(point: &'a Point, name: &str) -> Option<&'a str> {
    match name {
        "_measurement" => Some(&point.measurement),
        "_field" => Some(&point.field),
        tag => point.tags.get(tag).map(String::as_str),
    }
}

#[test]
fn dashboards_ask_for_what_the_gateway_writes() {
    let points = written();
    let comparison = Regex::new(r#"r\.(\w+) (==|!=) "([^"]*)""#).unwrap();
    let any_column = Regex::new(r"\br\.(\w+)").unwrap();
    let mut asked = BTreeSet::new();
    for (what, query) in queries() {
        for name in any_column
            .captures_iter(&query)
            .map(|found| found[1].to_owned())
        {
            let is_made = ["_value", "_time"].contains(&name.as_str());
            let is_written = points.iter().all(|point| column(point, &name).is_some());
            assert!(is_made || is_written, "{what}: nobody writes {name}");
        }
        let fits = |point: &&Point| {
            comparison.captures_iter(&query).all(|found| {
                let is_equal = column(point, &found[1]) == Some(&found[3]);
                is_equal == (&found[2] == "==")
            })
        };
        let found: Vec<&Point> = points.iter().filter(fits).collect();
        assert!(!found.is_empty(), "{what} finds nothing");
        if query.contains("r._measurement == ") {
            asked.extend(found.iter().map(|point| point.measurement.clone()));
        }
        for found in comparison
            .captures_iter(&query)
            .filter(|found| &found[2] == "!=")
        {
            let excludes = |point: &Point| column(point, &found[1]) == Some(&found[3]);
            assert!(
                points.iter().any(excludes),
                "{what} excludes nothing: {}",
                &found[0]
            );
        }
    }
    let all: BTreeSet<String> = points.into_iter().map(|point| point.measurement).collect();
    assert_eq!(asked, all, "a metric is on no dashboard");
}

/// What the dashboards use of Flux. `scripts/check-dashboards` checks them with Flux itself.
const FUNCTIONS: [&str; 20] = [
    "aggregateWindow",
    "count",
    "derivative",
    "difference",
    "distinct",
    "filter",
    "float",
    "from",
    "group",
    "increase",
    "int",
    "keep",
    "last",
    "limit",
    "map",
    "now",
    "range",
    "rename",
    "sort",
    "tagValues",
];

#[test]
fn queries_are_well_formed() {
    let literal = Regex::new(r#""[^"\n]*"|/(?:[^/\n\\ ]|\\.)+/"#).unwrap();
    let call = Regex::new(r"(\w+)\(").unwrap();
    for (what, query) in queries() {
        let bare = literal.replace_all(&query, "\"\"");
        let mut open = Vec::new();
        for c in bare.chars() {
            match c {
                '(' | '[' | '{' => open.push(c),
                ')' => assert_eq!(open.pop(), Some('('), "{what}"),
                ']' => assert_eq!(open.pop(), Some('['), "{what}"),
                '}' => assert_eq!(open.pop(), Some('{'), "{what}"),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{what} leaves {open:?} open");
        assert!(
            !bare.replace("\"\"", "").contains('"'),
            "{what}: a text does not end"
        );
        for function in call.captures_iter(&bare).map(|found| found[1].to_owned()) {
            assert!(FUNCTIONS.contains(&&*function), "{what} calls {function}");
        }
        if bare.starts_with("import ") {
            continue;
        }
        let stages: Vec<&str> = bare.split("|>").map(str::trim).collect();
        assert_eq!(stages[0], "from(bucket: v.defaultBucket)", "{what}");
        let range = "range(start: v.timeRangeStart, stop: v.timeRangeStop)";
        assert_eq!(stages[1], range, "{what}");
        for stage in &stages[1..] {
            let is_call =
                stage.ends_with(')') && call.find(stage).is_some_and(|at| at.start() == 0);
            assert!(is_call, "{what}: {stage}");
        }
    }
}
