//! Files of AWS services, written from their published lists of fields: time, level, method, URL, status and
//! address of each.

use serde_json::Value;

use crate::seen::{Seen, read};

/// The first record of a file of which nothing is bad.
fn first(text: &str, count: usize) -> Value {
    let Seen { mut records, bad, outcome } = read(text.as_bytes());
    assert_eq!((records.len(), bad.len(), outcome.reason), (count, 0, None), "{text}");
    records.remove(0)
}

/// Time, level, method, URL, status and address; `-` for what it does not say.
fn said(record: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (method, url, status) = (&record["method"], &record["url"], &record["context"]["status"]);
    let status = if status.is_null() { &record["context"]["sc-status"] } else { status };
    [&record["timestamp"], &record["level"], method, url, status, &record["remoteAddress"]]
        .map(text)
        .join(" ")
}

#[test]
fn application_load_balancer() {
    let line = r#"h2 2026-11-20T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 10.0.1.252:48160 10.0.0.66:9000 0.001 0.002 0.003 404 200 5 257 "GET https://10.0.2.105:773/a?b=c HTTP/2.0" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337327-72bd00b0343d75b906739c42" "-" "-" 1 2026-11-20T22:22:48.364000Z "redirect" "https://example.com:80/" "-" "10.0.0.66:9000" "200" "-" "-" TID_0"#;
    let record = first(line, 1);
    assert_eq!(
        said(&record),
        "2026-11-20T22:23:00.186Z WARN GET https://10.0.2.105:773/a?b=c 404 10.0.1.252"
    );
    assert_eq!((&record["processingTimeMs"], &record["remotePort"]), (&6.into(), &48160.into()));
    assert_eq!(record["request_id"], "Root=1-58337327-72bd00b0343d75b906739c42");
    assert_eq!(record["rawData"], line);
    let failed = line.replace(" 404 200 5 ", " 502 - 5 ").replace("0.001 0.002 0.003", "-1 -1 -1");
    let record = first(&failed, 1);
    assert_eq!((&record["level"], &record["processingTimeMs"]), (&"ERROR".into(), &Value::Null));
}

#[test]
fn network_load_balancer() {
    let line = "tls 2.0 2026-11-20T02:59:40 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd 72.21.218.154:51341 172.100.100.185:443 5 2 98 246 - arn:aws:acm:us-east-2:671290407336:certificate/2a108f19 - ECDHE-RSA-AES128-SHA tlsv12 - my-network-loadbalancer.elb.us-east-2.amazonaws.com - - - 2026-11-20T02:59:30";
    let record = first(line, 1);
    assert_eq!(said(&record), "2026-11-20T02:59:40.000Z INFO - - - 72.21.218.154");
    assert_eq!(record["processingTimeMs"], 5);
}

#[test]
fn classic_load_balancer() {
    let line = r#"2026-11-20T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -"#;
    assert_eq!(
        said(&first(line, 1)),
        "2026-11-20T23:39:43.945Z INFO GET http://www.example.com:80/ 200 192.168.131.39"
    );
}

#[test]
fn cloudfront_with_and_without_its_header() {
    let line = "2026-11-20\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111111abcdef8.cloudfront.net\t/index.html\t503\t-\tMozilla/5.0\t-\t-\tError\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\td111111abcdef8.cloudfront.net\thttps\t23\t0.125\t-\tTLSv1.2\tECDHE-RSA-AES128-GCM-SHA256\tError\tHTTP/2.0\t-\t-\t11040\t0.001\tError\ttext/html\t78\t-\t-";
    let expect = "2026-11-20T21:02:31.000Z ERROR GET /index.html 503 192.0.2.100";
    let record = first(line, 1);
    assert_eq!((said(&record).as_str(), &record["processingTimeMs"]), (expect, &125.into()));
    let header = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status\n";
    let short: Vec<&str> = line.split('\t').take(9).collect();
    let record = first(&format!("{header}{0}\n{0}\n", short.join("\t")), 2);
    assert_eq!(said(&record), expect);
    assert_eq!(record["context"]["x-edge-location"], "LAX1");
}

#[test]
fn s3_server_access() {
    let line = r#"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 [20/Nov/2026:00:00:38 +0000] 192.0.2.3 79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be 3E57427F3EXAMPLE REST.GET.OBJECT a/b.log "GET /amzn-s3-demo-bucket1/a/b.log HTTP/1.1" 403 AccessDenied 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -"#;
    let record = first(line, 1);
    assert_eq!(
        said(&record),
        "2026-11-20T00:00:38.000Z WARN GET /amzn-s3-demo-bucket1/a/b.log 403 192.0.2.3"
    );
    assert_eq!((&record["request_id"], &record["processingTimeMs"]), (&"3E57427F3EXAMPLE".into(), &7.into()));
}

#[test]
fn vpc_flow_with_and_without_its_header() {
    let line = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1795694235 1795694295 ACCEPT OK";
    let expect = "2026-11-26T11:57:15.000Z INFO - - - 172.31.16.139";
    assert_eq!(said(&first(line, 1)), expect);
    let header = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
    let record = first(&format!("{header}\n{line}\n{line}\n"), 2);
    assert_eq!(said(&record), expect);
    assert_eq!((&record["context"]["action"], &record["remotePort"]), (&"ACCEPT".into(), &20641.into()));
    let custom = "interface-id srcaddr dstaddr start action\neni-1 10.0.0.1 10.0.0.2 1795694235 REJECT\n";
    assert_eq!(said(&first(custom, 1)), "2026-11-26T11:57:15.000Z INFO - - - 10.0.0.1");
}

#[test]
fn waf() {
    let record = r#"{"timestamp":1795694235959,"formatVersion":1,"webaclId":"arn:aws:wafv2:x","terminatingRuleId":"STMTest_SQLi_XSS","terminatingRuleType":"REGULAR","action":"BLOCK","terminatingRuleMatchDetails":[],"httpSourceName":"-","httpSourceId":"-","ruleGroupList":[],"rateBasedRuleList":[],"nonTerminatingMatchingRules":[],"httpRequest":{"clientIp":"1.1.1.1","country":"AU","headers":[{"name":"Host","value":"localhost:1989"}],"uri":"/foo","args":"","httpVersion":"HTTP/1.1","httpMethod":"GET","requestId":"rid"}}"#;
    let record = first(record, 1);
    assert_eq!(said(&record), "2026-11-26T11:57:15.959Z INFO GET /foo - 1.1.1.1");
    assert_eq!((&record["message"], &record["request_id"]), (&"BLOCK".into(), &"rid".into()));
}

#[test]
fn route_53_resolver() {
    let record = r#"{"version":"1.100000","account_id":"123456789012","region":"us-east-1","vpc_id":"vpc-1","query_timestamp":"2026-11-20T17:51:55Z","query_name":"shop.example.com.","query_type":"A","query_class":"IN","rcode":"NOERROR","answers":[],"srcaddr":"4.5.64.102","srcport":"56067","transport":"UDP","srcids":{"instance":"i-1"},"firewall_rule_action":"BLOCK"}"#;
    let record = first(record, 1);
    assert_eq!(said(&record), "2026-11-20T17:51:55.000Z INFO - - - 4.5.64.102");
    assert_eq!(record["message"], "shop.example.com.");
}

#[test]
fn cloudtrail() {
    let event = r#"{"eventVersion":"1.09","userIdentity":{"type":"IAMUser"},"eventTime":"2026-11-20T20:03:05Z","eventSource":"ec2.amazonaws.com","eventName":"StartInstances","awsRegion":"us-east-2","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli","requestParameters":{},"requestID":"e4336db0-149f","eventID":"1","eventType":"AwsApiCall"}"#;
    let record = first(&format!("{{\"Records\":[{event},{event}]}}"), 2);
    assert_eq!(said(&record), "2026-11-20T20:03:05.000Z INFO - - - 198.51.100.7");
    assert_eq!(
        (&record["message"], &record["request_id"]),
        (&"StartInstances".into(), &"e4336db0-149f".into())
    );
    assert_eq!(record["rawData"]["eventID"], "1");
}

#[test]
fn api_gateway_as_json_and_as_clf() {
    let json = r#"{"requestId":"rid","ip":"203.0.113.9","caller":"-","user":"-","requestTime":"20/Nov/2026:10:00:00 +0000","httpMethod":"POST","resourcePath":"/orders","status":"502","protocol":"HTTP/1.1","responseLength":"36"}"#;
    let record = first(json, 1);
    assert_eq!(said(&record), "2026-11-20T10:00:00.000Z ERROR POST /orders - 203.0.113.9");
    assert_eq!(record["request_id"], "rid");
    let clf = r#"203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] "POST /orders HTTP/1.1" 502 36 rid"#;
    assert_eq!(said(&first(clf, 1)), "2026-11-20T10:00:00.000Z ERROR POST /orders 502 203.0.113.9");
}

#[test]
fn lambda() {
    let id = "8f507cfc-0000-4697-b07a-ac58fc914c95";
    let text = format!(
        "START RequestId: {id} Version: $LATEST\n2026-11-20T10:00:00.581Z\t{id}\tERROR\tno stock\nEND RequestId: {id}\nREPORT RequestId: {id}\tDuration: 3.16 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 65 MB\tInit Duration: 188.50 ms\t\n"
    );
    let seen = read(text.as_bytes());
    assert_eq!(seen.records.len(), 4);
    assert_eq!(seen.records[0]["request_id"], id);
    assert_eq!(seen.lines()[1], "ERROR 2026-11-20T10:00:00.581Z no stock");
    let report = &seen.records[3];
    assert_eq!((&report["processingTimeMs"], &report["request_id"]), (&3.16.into(), &id.into()));
    assert_eq!(report["context"]["billedDurationMs"], 4);
    assert_eq!(report["context"]["maxMemoryUsedMb"], 65);
    let platform = r#"{"time":"2026-11-20T10:00:00.581Z","type":"platform.start","record":{"requestId":"1","version":"$LATEST"}}"#;
    assert_eq!(first(platform, 1)["timestamp"], "2026-11-20T10:00:00.581Z");
    let json = format!(
        r#"{{"timestamp":"2026-11-20T10:00:00Z","level":"WARN","requestId":"{id}","message":"slow"}}"#
    );
    let record = first(&json, 1);
    assert_eq!(
        (&record["level"], &record["request_id"], &record["message"]),
        (&"WARN".into(), &id.into(), &"slow".into())
    );
}

#[test]
fn opentelemetry() {
    let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"scope":{"name":"lib"},"logRecords":[{"timeUnixNano":"1795694235959000000","severityNumber":17,"severityText":"Error","body":{"stringValue":"no stock"},"traceId":"5b8efff798038103d269b633813fc60c"},{"timeUnixNano":"1795694235960000000","severityNumber":9,"body":{"stringValue":"ok"}}]}]}]}"#;
    let record = first(text, 2);
    assert_eq!(said(&record), "2026-11-26T11:57:15.959Z ERROR - - - -");
    assert_eq!(
        (&record["message"], &record["context"]["service.name"]),
        (&"no stock".into(), &"shop".into())
    );
    assert_eq!(record["request_id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(record["context"]["scope"]["name"], "lib");
    let odd = text.replace("service.name", r#"a\""#).replace(r#""scope":{"#, r#""scope":{"version":"","#);
    let record = first(&odd, 2);
    assert_eq!(
        (&record["context"]["a\""], &record["context"]["scope"]["version"]),
        (&"shop".into(), &Value::Null)
    );
}

#[test]
fn records_of_an_envelope_without_times_have_the_envelopes() {
    let text =
        r#"{"requestId":"r","timestamp":1795694235959,"records":[{"a":1},{"time":1795694235000,"a":2}]}"#;
    let seen = read(text.as_bytes());
    let times: Vec<_> = seen.records.iter().map(|record| record["timestamp"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-26T11:57:15.959Z", "2026-11-26T11:57:15.000Z"]);
}
