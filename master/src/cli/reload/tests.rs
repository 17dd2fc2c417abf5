use super::*;
use std::time::Duration;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: body.to_owned() }
}

const REJECTED: &str = r#"{"id":4,"source":"api","oldVersion":2,"newVersion":3,
    "result":"rejected","code":"invalid","details":["Edgefile:3:5: error: no","and more"],
    "durationMs":12,"stderr":["ImportError"]}"#;

#[test]
fn what_was_not_applied_is_a_failure_with_every_detail() {
    let failure = failed("reload", &reply(409, REJECTED)).unwrap();
    assert_eq!(
        failure.to_string(),
        "error: the reload was rejected: invalid (version 2 stays active)\n    │ Edgefile:3:5: \
         error: no\n    │ and more\n    │ ImportError\n"
    );
    let back = REJECTED.replace("rejected", "rolled_back").replace("invalid", "app_died");
    let failure = failed("reload", &reply(409, &back)).unwrap();
    let said = "the reload was taken back: app_died (version 2 stays active)";
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, said));
    for other in [r#"{"ok":true,"app":"a"}"#, "[]", "oops", r#"{"result":"applied"}"#] {
        assert!(failed("reload", &reply(200, other)).is_none(), "{other}");
    }
}

#[test]
fn what_was_applied_is_told_with_what_it_changed() {
    let attempt: Attempt = serde_json::from_str(
        r#"{"id":5,"oldVersion":2,"newVersion":3,"result":"applied","code":"ok",
            "details":["app api scaled: 2 to 4 workers"],"durationMs":1234,"new":1}"#,
    )
    .unwrap();
    assert_eq!(applied(&attempt), "version 3 is active (1.2s)\n  app api scaled: 2 to 4 workers\n");
    let attempt = Attempt { old_version: 3, new_version: 3, ..Attempt::default() };
    assert_eq!(applied(&attempt), "version 3 stays active (0.0s)\n");
}

#[test]
fn other_answers_to_a_reload_are_understood() {
    let flags = Order { timeout: Duration::from_secs(1), ..Order::default() };
    let what = What::new("reload", "/control/reload", &flags);
    for body in [
        r#"{"ok":true,"app":"a","generation":2,"workers":2,"durationMs":5}"#,
        r#"{"ok":true,"result":"applied","newVersion":2,"app":"a","generation":2,"workers":2}"#,
        r#"{"ok":true}"#,
        r#"{"result":"applied","newVersion":2}"#,
    ] {
        assert_eq!(attempted(&what, &reply(200, body)).unwrap(), Exit::Done, "{body}");
    }
    let body = r#"{"ok":false,"error":"it stops","hint":"wait"}"#;
    let failure = attempted(&what, &reply(409, body)).unwrap_err();
    assert_eq!((failure.message.as_str(), failure.tips.len()), ("it stops", 1));
    assert_eq!(attempted(&what, &reply(409, REJECTED)).unwrap_err().exit, Exit::Failed);
}

#[test]
fn the_history_is_a_table() {
    let history: History = serde_json::from_str(&format!(
        r#"{{"ok":true,"version":1,"counts":{{"applied":1,"rejected":1,"rolled_back":0}},
            "attempts":[{{"id":1,"source":"start","oldVersion":0,"newVersion":1,
            "result":"applied","code":"ok","details":[],"durationMs":300,"at":1000}},{REJECTED}]}}"#
    ))
    .unwrap();
    let golden = "\
version 1 is active; since the start 1 applied, 1 rejected, 0 taken back

ATTEMPT  AGO  SOURCE  VERSION  RESULT    CODE     TOOK  DETAILS
      1   2m  start   0→1      applied   ok       0.3s  -
      4    -  api     2→3      rejected  invalid  0.0s  Edgefile:3:5: error: no (and 1 more)

all of what attempt 4 failed of:
";
    let told = attempts(&history, UnixMillis(121_000), Paint::Plain);
    let (table, details) = told.split_at(golden.len().min(told.len()));
    assert_eq!(table, golden);
    assert_eq!(details.matches("    │ ").count(), details.lines().count());
    assert!(details.lines().count() >= 2, "{details}");
}

#[test]
fn the_configuration_is_a_few_tables() {
    let text = r#"{"ok":true,"version":3,"path":"/srv/Edgefile","edge":{"http":["*:80"],"loops":null,"limits":{"bodyBytes":1,"connections":null,
            "perAddress":null,"spoolMemoryBytes":1,"spoolDiskBytes":1},"phases":{"headMs":1,
            "bodyMs":1,"idleMs":1,"writeMs":1,"lingerMs":1},"underscores":false,
            "verify":{"healthyApps":true,"healthyUpstreams":true,"withinMs":1},
            "log":{"access":true,"json":false},"builtin":{"server":null,"status":null},
            "spoolDir":null},"apps":[],"routes":[{"id":"x","host":"example.com",
            "pathPattern":"/old/*","methods":["GET"],"action":{"kind":"redirect",
            "to":"/new/{path}","status":308},"priority":0,"line":7}]}"#;
    let config: Config = serde_json::from_str(text).unwrap();
    let active: Active = serde_json::from_str(text).unwrap();
    let golden = "\
version 3 of /srv/Edgefile, listening on http *:80

APP  WORKERS  CONCURRENCY  USER  ENTRY

HOST         PATH    METHODS  ACTION                       LINE
example.com  /old/*  GET      redirect 308 to /new/{path}     7
";
    assert_eq!(configuration(&active, &config, Paint::Plain), golden);

    let mut config = config;
    let app = rip::ids::AppId::new("chat");
    let mut live = rip::contract::realtime::RealtimeConfig::new("/live", app, "/v1/realtime");
    live.origins.push("https://www.example.org".to_owned());
    config.realtime.push(live);
    let places = "\
HOST  REALTIME  APP   ORIGINS                  SECRET
*     /live     chat  https://www.example.org  -
";
    let shown = configuration(&active, &config, Paint::Plain);
    assert_eq!(shown, format!("{golden}\n{places}"));

    config.realtime.clear();
    let app = rip::ids::AppId::new("chat");
    config.sessions.push(rip::contract::sessions::SessionsConfig::new("/v1", app));
    let mounts = "\
HOST  SESSIONS  APP   ON DISCONNECT  WEBSOCKETS  ORIGINS
*     /v1       chat  continue       yes         -
";
    let shown = configuration(&active, &config, Paint::Plain);
    assert_eq!(shown, format!("{golden}\n{mounts}"));
}

#[test]
fn a_plan_is_a_line_for_each_change() {
    let told = |text: &str| planned(&serde_json::from_str(text).unwrap());
    assert_eq!(told(r#"{"ok":true,"lines":[],"plan":{}}"#), "nothing changes");
    let plan = r#"{"lines":["app a started","route added: x"],"warnings":["odd"]}"#;
    assert_eq!(told(plan), "warning: odd\napp a started\nroute added: x");
    assert_eq!(told(r#"{"lines":[],"note":"it is a roll"}"#), "it is a roll");

    let failure = unplanned(&reply(409, REJECTED)).unwrap();
    assert_eq!(failure.message, "a reload would be rejected: invalid");
    assert_eq!(failure.lines, ["Edgefile:3:5: error: no", "and more"]);
    assert!(unplanned(&reply(409, r#"{"error":"it stops"}"#)).is_none());
}

#[test]
fn without_a_master_there_is_no_plan() {
    let failure = nobody(Failure::new(Exit::Failed, "no master is running"));
    assert_eq!(failure.exit.code(), 69);
    assert!(failure.tips[0].contains("rip-master check"));
    assert_eq!(nobody(Failure::usage("several masters run")).exit.code(), 2);
}
