use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::*;

fn answer_of(status: u16, headers: &[(HeaderName, &str)], body: &str, gzip: bool) -> Answer {
    let target = Target {
        org: "iiot".into(),
        bucket: "telemetry".into(),
        gzip,
    };
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let headers = headers
        .iter()
        .map(|(name, text)| (name.clone(), value(text)));
    let response = Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect(),
        body: Body {
            bytes: body.into(),
            is_whole: true,
        },
    };
    Answer::new(&response, &target)
}

fn answer(status: u16, body: &str) -> Answer {
    answer_of(status, &[], body, false)
}

fn refused(cause: Cause, reason: &str) -> Answer {
    super::refused(cause, reason)
}

fn back_off(reason: &str) -> Answer {
    Answer::BackOff(Setback {
        reason: reason.into(),
        ..Setback::default()
    })
}

fn bad_points(answer: Answer) -> Rejected {
    match answer {
        Answer::BadPoints(rejected) => rejected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_a_write_is_answered_with_is_an_acknowledgement() {
    assert_eq!(answer(204, ""), Answer::Accepted);
    for status in [200, 201, 202] {
        for body in ["", "\r\n", "{}", r#"{"status":"ok"}"#] {
            assert_eq!(answer(status, body), Answer::Accepted, "{status} {body}");
        }
    }
    for (status, body, shown) in [
        (
            200,
            "<title>Log in</title>",
            "200 OK with \"<title>Log in</title>\"",
        ),
        (
            200,
            "<html><title>Log in</title>",
            "200 OK with the page \"Log in\"",
        ),
        (202, "<!doctype html>", "202 Accepted"),
        (203, "", "203 Non Authoritative Information"),
        (205, "", "205 Reset Content"),
        (207, "{}", "207 Multi-Status with \"{}\""),
        (200, "It works!", "200 OK with \"It works!\""),
        (
            200,
            r#"{"error":"no such path"}"#,
            "200 OK with \"no such path\"",
        ),
        (200, "[1]", "200 OK with \"[1]\""),
    ] {
        let reason = format!("this is not InfluxDB, check influxdb.url (it answered {shown})");
        assert_eq!(answer(status, body), refused(Cause::Address, &reason));
    }
    let html = [(CONTENT_TYPE, "Text/HTML; charset=utf-8")];
    let reason = "this is not InfluxDB, check influxdb.url (it answered 200 OK)";
    assert_eq!(
        answer_of(200, &html, "", false),
        refused(Cause::Address, reason)
    );
    let reason =
        "this is not InfluxDB, check influxdb.url (it answered 200 OK with the page \"Hi\")";
    let answer = answer_of(200, &html, "<title>Hi</title>", false);
    assert_eq!(answer, refused(Cause::Address, reason));
}

#[test]
fn half_an_acknowledgement_is_none() {
    let half = |status, body: &str| {
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Body {
                bytes: body.into(),
                is_whole: false,
            },
        };
        response.acknowledgement()
    };
    assert_eq!(half(200, ""), back_off("the server broke off its answer"));
    assert_eq!(half(204, ""), Answer::Accepted);
    assert!(matches!(half(200, "{}"), Answer::Refused(_)));
}

#[test]
fn a_server_that_cannot_decompress_says_what_to_set() {
    let advice = "the server does not take compressed writes, set influxdb.gzip = false";
    let with_gzip = |status, body| answer_of(status, &[], body, true);
    for (status, body, shown) in [
        (415, "", "415 Unsupported Media Type"),
        (415, "nope", "415 Unsupported Media Type: nope"),
        (
            400,
            r#"{"message":"gzip: invalid header"}"#,
            "400 Bad Request: gzip: invalid header",
        ),
        (
            422,
            "unknown Content-Encoding",
            "422 Unprocessable Entity: unknown Content-Encoding",
        ),
        (
            400,
            r#"{"message":"unable to parse '\u001f\ufffd\b': missing fields"}"#,
            "400 Bad Request: unable to parse ' \u{fffd} ': missing fields",
        ),
    ] {
        let reason = format!("{advice} (it answered {shown})");
        assert_eq!(
            with_gzip(status, body),
            refused(Cause::Gzip, &reason),
            "{body}"
        );
        assert_ne!(
            answer(status, body),
            refused(Cause::Gzip, &reason),
            "{body}"
        );
    }
    let named = "unable to parse 'gzip,node_id=n value=x': invalid number";
    assert_eq!(bad_points(with_gzip(400, named)).reason, named);
}

#[test]
fn a_partial_write_is_about_points_whatever_its_status() {
    let words = "unexpected error writing points to database: partial write: points beyond \
                 retention policy dropped=3";
    for status in [400, 422, 500, 503] {
        let rejected = bad_points(answer(status, words));
        assert_eq!(rejected.dropped, Some(3));
        assert!(rejected.is_about_points);
    }
    // As InfluxDB 2.7.12 has it: the count comes late.
    let point = "humidity,node_id=node3,sensor_type=environmental at 2026-11-27T01:30:36.8843Z";
    let bound = "because it violates a Retention Policy Lower Bound at 2026-11-27T03:01:28.4Z";
    let words = format!(
        "failure writing points to database: partial write: dropped 4 points outside retention \
         policy of duration 1h0m0s - oldest point {point} dropped {bound}, newest point {point} \
         dropped {bound} dropped=4 for database: 80a0c1aa2732e821 for retention policy: autogen"
    );
    let body = serde_json::json!({"code": "unprocessable entity", "message": words});
    let rejected = bad_points(answer(422, &body.to_string()));
    assert_eq!(rejected.dropped, Some(4));
    assert!(rejected.is_about_points);
    assert!(matches!(answer(500, "partial write"), Answer::BackOff(_)));
    for words in ["Bad Request", "Please provide either orgID or org", ""] {
        let rejected = bad_points(answer(400, words));
        assert!(
            !rejected.is_about_points && rejected.dropped.is_none(),
            "{words}"
        );
    }
}

#[test]
fn what_a_server_asks_for_is_kept() {
    let headers = [(RETRY_AFTER, "120")];
    for (status, was_too_much) in [
        (429, false),
        (503, false),
        (500, false),
        (408, true),
        (504, true),
    ] {
        let Answer::BackOff(setback) = answer_of(status, &headers, "", true) else {
            panic!("{status}");
        };
        assert_eq!(setback.retry_after, Some(Duration::from_mins(2)));
        assert_eq!(setback.was_too_much, was_too_much, "{status}");
    }
}

#[test]
fn a_redirection_says_where_to() {
    let headers = [(
        LOCATION,
        "https://user:s3cret@portal.example:8443/login?token=s3cret#x",
    )];
    let reason = "the server answered 302 Found and points to https://portal.example:8443/login, \
                  check influxdb.url";
    assert_eq!(
        answer_of(302, &headers, "", true),
        refused(Cause::Address, reason)
    );
    let reason = "the server answered 307 Temporary Redirect and points to /login, \
                  check influxdb.url";
    let headers = [(LOCATION, "/login?next=%2F")];
    assert_eq!(
        answer_of(307, &headers, "", true),
        refused(Cause::Address, reason)
    );
}

#[test]
fn a_rejected_token_says_what_to_set() {
    let advice = "token rejected, set INFLUXDB_TOKEN or influxdb.token";
    let unauthorized = r#"{"code":"unauthorized","message":"unauthorized access"}"#;
    assert_eq!(answer(401, unauthorized), refused(Cause::Token, advice));
    assert_eq!(answer(401, ""), refused(Cause::Token, advice));
    assert_eq!(
        answer(
            403,
            r#"{"code":"forbidden","message":"insufficient permissions for write"}"#
        ),
        refused(
            Cause::Rights,
            &format!("{advice} (insufficient permissions for write)")
        )
    );
}

#[test]
fn what_is_not_found_is_named() {
    for (body, reason) in [
        (
            r#"{"code":"not found","message":"bucket \"telemetry\" not found"}"#,
            "bucket \"telemetry\" not found",
        ),
        (
            r#"{"code":"not found","message":"organization name \"iiot\" not found"}"#,
            "org \"iiot\" not found",
        ),
        (
            r#"{"code":"not found","message":"organization name \"my bucket\" not found"}"#,
            "org \"iiot\" not found",
        ),
        (
            r#"{"code":"not found","message":"bucket \"organization\" not found"}"#,
            "bucket \"telemetry\" not found",
        ),
        ("", "bucket \"telemetry\" or org \"iiot\" not found"),
    ] {
        assert_eq!(answer(404, body), refused(Cause::Place, reason), "{body}");
    }
}

#[test]
fn bad_points_come_with_the_words_of_the_server() {
    let conflict = "failure writing points to database: partial write: field type conflict: \
                    input field \"value\" on measurement \"t\" is type float, already exists \
                    as type integer dropped=1";
    let body = serde_json::json!({"code": "unprocessable entity", "message": conflict});
    assert_eq!(bad_points(answer(422, &body.to_string())).reason, conflict);
    let body = r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#;
    let rejected = bad_points(answer(400, body));
    assert_eq!(rejected.reason, "unable to parse 'x': missing fields");
    let body = r#"{"error":"points beyond retention policy"}"#;
    let rejected = bad_points(answer(400, body));
    assert_eq!(rejected.reason, "points beyond retention policy");
    assert_eq!(bad_points(answer(400, " \r\n")).reason, "400 Bad Request");
}

#[test]
fn plain_http_on_a_port_for_tls_is_no_fault_of_the_points() {
    let reason = "the server wants TLS on this port, use https:// in influxdb.url";
    for body in [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<center>The plain HTTP request was sent to HTTPS port</center>",
    ] {
        assert_eq!(answer(400, body), refused(Cause::Address, reason));
    }
}

#[test]
fn a_server_in_trouble_is_left_alone_for_a_while() {
    let internal = r#"{"code":"internal error","message":"unexpected error: disk"}"#;
    assert_eq!(
        answer(500, internal),
        back_off("the server answered 500 Internal Server Error (unexpected error: disk)")
    );
    assert_eq!(
        answer(503, ""),
        back_off("the server answered 503 Service Unavailable")
    );
    assert_eq!(
        answer(429, ""),
        back_off("the server answered 429 Too Many Requests")
    );
    let too_large = r#"{"code":"request too large","message":"points batch is too large"}"#;
    let reason = "points batch is too large".to_owned();
    assert_eq!(answer(413, too_large), Answer::TooLarge { reason });
}

#[test]
fn a_server_that_is_too_old_is_told_apart_from_a_wrong_address() {
    let version = HeaderName::from_static("x-influxdb-version");
    let of = |number| {
        answer_of(
            404,
            &[(version.clone(), number)],
            "404 page not found\n",
            true,
        )
    };
    let reason = "InfluxDB 1.6.7~rc0 does not take these writes, 1.8 and later do";
    assert_eq!(of("1.6.7~rc0"), refused(Cause::Version, reason));
    let reason = "the server answered 404 Not Found, check influxdb.url (404 page not found)";
    for number in ["1.8.10", "v2.7.12", "3.0", "1", ""] {
        assert_eq!(of(number), refused(Cause::Address, reason), "{number}");
    }
}

#[test]
fn other_answers_are_refusals() {
    let refused = |reason| refused(Cause::Address, reason);
    assert_eq!(
        answer(301, ""),
        refused("the server answered 301 Moved Permanently, check influxdb.url")
    );
    assert_eq!(
        answer(404, "404 page not found\n"),
        refused("the server answered 404 Not Found, check influxdb.url (404 page not found)")
    );
    assert_eq!(
        answer(400, "<html><title>400 The request is broken</title>"),
        refused(
            "the server answered 400 Bad Request, check influxdb.url (400 The request is broken)"
        )
    );
    assert_eq!(
        answer(405, "<h1>Not\tallowed</h1>\n\n\u{1b}[31m"),
        refused(
            "the server answered 405 Method Not Allowed, check influxdb.url \
             (<h1>Not allowed</h1> [31m)"
        )
    );
}
