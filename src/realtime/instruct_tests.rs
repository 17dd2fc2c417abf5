use super::*;
use crate::entropy::{Entropy, Xoshiro};

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// One item, as one line: `@` targets, `+`, `-`, `>`, payload, `*`.
fn line(item: &Item) -> String {
    let mut words = Vec::new();
    if let Some(targets) = &item.targets {
        let groups = targets.groups.iter().map(ToString::to_string);
        let clients = targets.clients.iter().map(ToString::to_string);
        words.push(format!("@{}", groups.chain(clients).collect::<Vec<_>>().join(",")));
    }
    words.extend(item.joins.iter().map(|group| format!("+{group}")));
    words.extend(item.leaves.iter().map(|group| format!("-{group}")));
    words.extend(item.excludes.iter().map(|client| format!(">{client}")));
    if let Some(frame) = item.payload.frame() {
        let sort = match &item.payload {
            Payload::Raw(_) => "raw ",
            _ => "",
        };
        let payload = match std::str::from_utf8(frame.payload()) {
            Ok(text) => text.to_owned(),
            Err(_) => frame.payload().escape_ascii().to_string(),
        };
        words.push(format!("{sort}{:?} {payload}", frame.kind()));
    }
    if let Some(close) = &item.close {
        words.push(format!("*{} {}", close.code, close.reason));
    }
    words.join(" | ")
}

/// The answer's lines; `! ` and the reason for an object that does nothing.
fn lines(answer: &str) -> Result<Vec<String>, String> {
    let items = parse(answer.as_bytes()).map_err(|unreadable| unreadable.to_string())?;
    let shown = |item: Result<Item, Invalid>| match item {
        Ok(item) => line(&item),
        Err(invalid) => format!("! {invalid}"),
    };
    Ok(items.into_iter().map(shown).collect())
}

#[test]
fn valid_answers() {
    for (answer, expected) in [
        // Nothing to do.
        ("", &[][..]),
        (" \r\n\t ", &[]),
        ("[]", &[]),
        ("{}", &[""]),
        ("[{}, {}]", &["", ""]),
        // To the client that is answered.
        (r#"{"hello":"world"}"#, &[r##"Text {"hello":"world"}"##]),
        (r#" {"a":1} "#, &[r##"Text {"a":1}"##]),
        // Targets.
        (r#"{"@":[]}"#, &["@"]),
        (r#"{"@":["/lobby"],"a":1}"#, &[r##"@/lobby | Text {"a":1}"##]),
        (r#"{"@":["/b","/a","/b"]}"#, &["@/b,/a"]),
        (r#"{"@":["ID"],"a":1}"#, &[r##"@ID | Text {"a":1}"##]),
        (r#"{"@":["/a","ID","OTHER"]}"#, &["@/a,ID,OTHER"]),
        (r#"{"@":["gone","","ID0","lobby"],"a":1}"#, &[r##"@ | Text {"a":1}"##]),
        (r#"{"\u0040":["\u002fa"]}"#, &["@/a"]),
        (r#"{"@":["/"]}"#, &["@/"]),
        (r#"{"@":["/é\n"]}"#, &["@/é\n"]),
        // Groups.
        (r#"{"+":["/a","/b"],"-":["/c"]}"#, &["+/a | +/b | -/c"]),
        (r#"{"-":["/c"],"+":["/a"]}"#, &["+/a | -/c"]),
        (r#"{"+":["/a","/a"],"-":["/a","/a"]}"#, &["+/a | -/a"]),
        (r#"{"+":[],"-":[],">":[]}"#, &[""]),
        // Left out.
        (r#"{"@":["/a"],">":["ID","gone"],"x":0}"#, &[r##"@/a | >ID | Text {"x":0}"##]),
        // Closed.
        (r#"{"*":"bye"}"#, &["*1000 bye"]),
        (r#"{"*":""}"#, &["*1000 "]),
        (r#"{"*":{}}"#, &["*1000 "]),
        (r#"{"*":{"code":4000,"reason":"no"}}"#, &["*4000 no"]),
        (r#"{"*":{"reason":"no"}}"#, &["*1000 no"]),
        (r#"{"*":{"code":3000}}"#, &["*3000 "]),
        (r#"{"*":{"code": 4999 }}"#, &["*4999 "]),
        (r#"{"*":{"code":1001},"a":1}"#, &[r##"Text {"a":1} | *1001 "##]),
        // Raw payloads.
        (r#"{"$text":"hi"}"#, &["raw Text hi"]),
        (r#"{"$text":""}"#, &["raw Text "]),
        (r#"{"$text":"{\"a\":1}"}"#, &[r##"raw Text {"a":1}"##]),
        (r#"{"$text":"\u00e9\ud83d\ude00"}"#, &["raw Text é😀"]),
        (r#"{"$binary":"AP8="}"#, &[r"raw Binary \x00\xff"]),
        (r#"{"$binary":""}"#, &["raw Binary "]),
        (r#"{"@":["/a"],"$text":"x","*":"y"}"#, &["@/a | raw Text x | *1000 y"]),
        // What is passed on as it was written: order, numbers, blanks, keys that are there twice.
        (r#"{"z":1,"a":2,"m":3}"#, &[r##"Text {"z":1,"a":2,"m":3}"##]),
        (r#"{"z":1,"+":["/g"],"a":2}"#, &[r##"+/g | Text {"z":1,"a":2}"##]),
        (
            r#"{"n":123456789012345678901234567890.000}"#,
            &[r##"Text {"n":123456789012345678901234567890.000}"##],
        ),
        (r#"{"n":1e999999,"m":-0.0}"#, &[r##"Text {"n":1e999999,"m":-0.0}"##]),
        (r#"{"a": [ 1, {"b" : 2} ] , "c":null}"#, &[r##"Text {"a":[ 1, {"b" : 2} ],"c":null}"##]),
        (r#"{"a":1,"a":2}"#, &[r##"Text {"a":1,"a":2}"##]),
        (r##"{"a":{"@":["x"],"#":1}}"##, &[r##"Text {"a":{"@":["x"],"#":1}}"##]),
        (r#"{"a":"\u00e9\ud800"}"#, &[r##"Text {"a":"\u00e9\ud800"}"##]),
        (r#"{"":1,"\"\n":2}"#, &[r##"Text {"":1,"\"\n":2}"##]),
        (
            r#"{"$":1,"$$text":2,"@@":3,"text":4}"#,
            &[r##"Text {"$":1,"$$text":2,"@@":3,"text":4}"##],
        ),
        // Several.
        (r#"[{"a":1},{"+":["/b"]},{"*":"c"}]"#, &[r##"Text {"a":1}"##, "+/b", "*1000 c"]),
    ] {
        let (answer, expected) = (named(answer), expected.iter().map(|line| named(line)));
        assert_eq!(lines(&answer), Ok(expected.collect::<Vec<_>>()), "{answer}");
    }
}

#[test]
fn objects_that_do_nothing() {
    for (answer, reason) in [
        ("1", "it is a number, not an object"),
        ("null", "it is null, not an object"),
        (r#""x""#, "it is a string, not an object"),
        ("true", "it is a boolean, not an object"),
        ("[]", "it is an array, not an object"),
        (r#"{"@":"/a"}"#, r#""@" is a string, not an array of strings"#),
        (r#"{"@":null}"#, r#""@" is null, not an array of strings"#),
        (r#"{"@":{}}"#, r#""@" is an object, not an array of strings"#),
        (r#"{"@":["/a",1]}"#, r#""@" has a number, not strings alone"#),
        (r#"{"@":[["/a"]]}"#, r#""@" has an array, not strings alone"#),
        (r#"{"@":["\ud800"]}"#, r#""@" has half a character: a surrogate that stands alone"#),
        (r#"{"@":["LONG"]}"#, r#"SHORT in "@" is longer than 256 bytes"#),
        (r#"{"@":[],"a":1,"@":[]}"#, r#""@" is there twice"#),
        (r#"{"@":[],"\u0040":[]}"#, r#""@" is there twice"#),
        (r#"{"+":["lobby"]}"#, r#""lobby" in "+" is no group: the "/" before it is missing"#),
        (r#"{"-":["ID"]}"#, r#""ID" in "-" is no group: the "/" before it is missing"#),
        (r#"{"+":[""]}"#, r#""" in "+" is no group: the "/" before it is missing"#),
        (r#"{"+":["/a","a\nb"]}"#, r#""a\nb" in "+" is no group: the "/" before it is missing"#),
        (r#"{"+":"/a"}"#, r#""+" is a string, not an array of strings"#),
        (r#"{"+":["LONG"]}"#, r#"SHORT in "+" is longer than 256 bytes"#),
        (r#"{"+":MANY}"#, r#""+" has 257 groups: a client is in 256"#),
        (r#"{"-":[null]}"#, r#""-" has null, not strings alone"#),
        (r#"{"+":["/a"],"+":["/b"]}"#, r#""+" is there twice"#),
        (r#"{">":["/a"]}"#, r#""/a" in ">" is a group: only clients are left out"#),
        (r#"{">":"ID"}"#, r#"">" is a string, not an array of strings"#),
        (r#"{"*":null}"#, r#""*" is null, not a reason or {"code", "reason"}"#),
        (r#"{"*":4000}"#, r#""*" is a number, not a reason or {"code", "reason"}"#),
        (r#"{"*":true}"#, r#""*" is a boolean, not a reason or {"code", "reason"}"#),
        (r#"{"*":{"code":4000,"code":4000}}"#, r#""code" in "*" is there twice"#),
        (r#"{"*":{"status":4000}}"#, r#""status" in "*" is neither "code" nor "reason""#),
        (r#"{"*":{"reason":7}}"#, r#""reason" is a number, not a string"#),
        (r#"{"*":"REASON"}"#, r#"the reason in "*" has 124 bytes: 123 fit into the frame"#),
        (
            r#"{"*":{"reason":"REASON"}}"#,
            r#"the reason in "*" has 124 bytes: 123 fit into the frame"#,
        ),
        (r##"{"#":{}}"##, r##""#" is reserved for the positions that clients are told"##),
        (r#"{"$text":1}"#, r#""$text" is a number, not a string"#),
        (r#"{"$text":"\udc00"}"#, r#""$text" has half a character: a surrogate that stands alone"#),
        (r#"{"$text":"a","b":1}"#, r#""$text" and "$binary" stand instead of other keys"#),
        (r#"{"b":1,"$binary":""}"#, r#""$text" and "$binary" stand instead of other keys"#),
        (r#"{"$text":"a","$binary":""}"#, r#"there are both "$text" and "$binary""#),
        (r#"{"$text":"a","$text":"a"}"#, r#""$text" is there twice"#),
        (r#"{"$binary":[1]}"#, r#""$binary" is an array, not a string"#),
    ] {
        // Alone, and among others that are not affected.
        let (answer, reason) = (named(answer), named(reason));
        let around = format!(r#"[{{"a":1}},{answer},{{"b":2}}]"#);
        let a = r#"Text {"a":1}"#.to_owned();
        let b = r#"Text {"b":2}"#.to_owned();
        assert_eq!(lines(&around), Ok(vec![a, format!("! item 2: {reason}"), b]), "{answer}");
        if answer.starts_with('{') {
            assert_eq!(lines(&answer), Ok(vec![format!("! item 1: {reason}")]), "{answer}");
        }
    }
}

#[test]
fn codes_that_no_close_frame_may_carry() {
    for code in [
        "0",
        "999",
        "1004",
        "1005",
        "1006",
        "1015",
        "2999",
        "5000",
        "-1",
        "65536",
        "69536",
        "4000.0",
        "4e3",
        "null",
        "[]",
        "{}",
        "true",
        r#""4000""#,
    ] {
        let found = lines(&format!(r#"{{"*":{{"code":{code}}},"a":1}}"#)).unwrap();
        let reason = "is no code: 1000 to 1003, 1007 to 1014, 3000 to 4999 are";
        // What is no number is not shown.
        let shown = match code {
            "null" => "null".to_owned(),
            "[]" => "an array".to_owned(),
            "{}" => "an object".to_owned(),
            "true" => "a boolean".to_owned(),
            code if code.starts_with('"') => "a string".to_owned(),
            code => format!("{code:?}"),
        };
        assert_eq!(found, [format!(r#"! item 1: {shown} in "*" {reason}"#)]);
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let found = lines(&format!(r#"{{"*":{{"code":{code}}}}}"#)).unwrap();
        assert_eq!(found, [format!("*{code} ")]);
    }
}

#[test]
fn base64_is_strict() {
    for bad in ["A", "AA", "AA=", "AAA", "AB==", "A A=", "AA==\\n", "_w==", "AA==AA=="] {
        let found = lines(&format!(r#"{{"$binary":"{bad}"}}"#)).unwrap();
        assert!(found[0].starts_with(r#"! item 1: "$binary" is no base64: "#), "{bad}: {found:?}");
    }
}

#[test]
fn answers_of_which_nothing_can_be_used() {
    for (answer, reason) in [
        ("x", "it is no JSON: "),
        ("{", "it is no JSON: "),
        (r#"{"a":1"#, "it is no JSON: "),
        (r#"{"a":1} {"b":2}"#, "it is no JSON: "),
        (r#"[{"a":1},]"#, "it is no JSON: "),
        (r#"[{"a":1}"#, "it is no JSON: "),
        (r#"{"a":01}"#, "it is no JSON: "),
        (r#"{'a':1}"#, "it is no JSON: "),
        (r#"{"a":NaN}"#, "it is no JSON: "),
        ("{\"a\":\"\n\"}", "it is no JSON: "),
        ("\u{feff}{}", "it is no JSON: "),
        ("1", "it is a number, not an object or an array of them"),
        (r#""{}""#, "it is a string, not an object or an array of them"),
        ("null", "it is null, not an object or an array of them"),
        ("true ", "it is a boolean, not an object or an array of them"),
    ] {
        let unreadable = parse(answer.as_bytes()).expect_err(answer);
        assert!(unreadable.to_string().starts_with(reason), "{answer}: {unreadable}");
    }
    assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err(), Unreadable("it is not UTF-8".into()));
}

#[test]
fn depth_and_size_are_passed_on_or_refused_but_never_overflow() {
    let depth = 200_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let found = lines(&format!(r#"{{"a":{deep}}}"#)).unwrap();
    assert_eq!(found[0].len(), r#"Text {"a":}"#.len() + deep.len());
    assert_eq!(lines(&deep).unwrap(), ["! item 1: it is an array, not an object"]);
    assert!(lines(&"[".repeat(depth)).is_err());
    assert!(lines(&r#"{"a":"#.repeat(depth)).is_err());
    let found = lines(&format!(r#"{{"@":{deep}}}"#)).unwrap();
    assert_eq!(found[0], r#"! item 1: "@" has an array, not strings alone"#);
    let many: Vec<String> = (0..50_000).map(|n| format!(r#""/{n}""#)).collect();
    let found = parse(format!(r#"{{"@":[{}]}}"#, many.join(",")).as_bytes()).unwrap();
    let targets = found[0].as_ref().unwrap().targets.as_ref().unwrap();
    assert_eq!(targets.groups.len(), 50_000);
}

#[test]
fn items_are_bounded() {
    let answer = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(lines(&answer(INSTRUCTION_COUNT)).unwrap().len(), INSTRUCTION_COUNT);
    let refused = lines(&answer(INSTRUCTION_COUNT + 1)).unwrap_err();
    assert_eq!(refused, "it has 10001 items: 10000 may be");
}

#[test]
fn garbage_never_panics() {
    let seeds = [
        r#"[{"@":["/a","ID"],"+":["/b"],"-":["/c"],">":["ID"],"*":{"code":4000,"reason":"é"}}]"#,
        r#"{"$text":"\ud83d\ude00","$binary":"AP8="}"#,
        r##"{"#":1,"a":[1e5,-0.5,null,true,"x\u0000"]}"##,
    ];
    let mut random = Xoshiro::new(9);
    for _ in 0..20_000 {
        let mut bytes = seeds[random.below(3) as usize].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"[]{}\",:\\u\n"[random.below(10) as usize]),
            }
        }
        for item in parse(&bytes).into_iter().flatten().flatten() {
            if let Payload::Object(frame) = &item.payload {
                let text = std::str::from_utf8(frame.payload()).expect("UTF-8");
                serde_json::from_str::<&RawValue>(text).expect("what is delivered is JSON");
                assert!(text.starts_with(r#"{""#));
            }
        }
    }
}

#[test]
fn an_item_tells_whom_it_names_and_what_is_joined() {
    let one = |answer: &str| parse(named(answer).as_bytes()).unwrap().remove(0).unwrap();
    let id = ClientId::parse(ID).unwrap();
    for (answer, named) in [
        ("{}", true),
        (r#"{"@":["ID"]}"#, true),
        (r#"{"@":[]}"#, false),
        (r#"{"@":["OTHER","/a"]}"#, false),
    ] {
        assert_eq!(one(answer).names(id), named, "{answer}");
    }
    assert_eq!(one(r#"{"+":["/a","/b"]}"#).joined()[1].as_str(), "/b");
    assert_eq!(line(&Item::join(GroupName::new("/a").unwrap())), "+/a");
}

/// Stands in for what is long.
fn named(text: &str) -> String {
    let long = format!("/{}", "x".repeat(256));
    let many: Vec<String> = (0..257).map(|n| format!(r#""/{n}""#)).collect();
    text.replace("ID", ID)
        .replace("OTHER", OTHER)
        .replace("LONG", &long)
        .replace("SHORT", &format!("\"{}…\"", &long[..64]))
        .replace("MANY", &format!("[{}]", many.join(",")))
        .replace("REASON", &"r".repeat(124))
}
