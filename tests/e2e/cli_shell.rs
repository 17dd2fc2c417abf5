//! What shells and readers of manuals get, in a real bash and before real readers of roff.

use crate::harness::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn run(arguments: &[&str]) -> String {
    let output = tools::finish(tools::rip_master().args(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", tools::both(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("a directory of the test");
    place
}

/// What bash offers where `line` ends, after it has read the script. As readline would, a colon is
/// a word of its own.
fn offered(script: &Path, line: &str) -> Vec<String> {
    let ask = r#"
        source "$1"
        COMP_LINE="$2" COMP_POINT=${#2} COMP_WORDS=() word=
        for ((i = 0; i < ${#2}; i++)); do
            case "${2:i:1}" in
                ' ') [[ -n $word ]] && COMP_WORDS+=("$word"); word= ;;
                ':') [[ -n $word ]] && COMP_WORDS+=("$word"); COMP_WORDS+=(':'); word= ;;
                *) word+="${2:i:1}" ;;
            esac
        done
        COMP_WORDS+=("$word")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        handler=$(complete -p rip-master | sed 's/.*-F \([^ ]*\).*/\1/')
        "$handler" rip-master "$word" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ask, "bash"]).arg(script).arg(line);
    let output = tools::finish(bash.current_dir(script.parent().expect("its directory")));
    assert!(output.status.success(), "{line}: {}", tools::both(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_values_and_tokens() {
    let place = place("completions");
    let script = place.join("rip-master.bash");
    fs::write(&script, run(&["completions", "bash"])).expect("the script");
    fs::write(place.join("shop.py"), "").expect("a file");
    let syntax = tools::finish(Command::new("bash").arg("-n").arg(&script));
    assert!(syntax.status.success(), "{}", tools::both(&syntax));
    for (line, expected) in [
        ("rip-master sta", &["start", "status"][..]),
        ("rip-master ctl sc", &["scale"]),
        ("rip-master ctl certs re", &["reload", "renew"]),
        ("rip-master start --max-q", &["--max-queue"]),
        ("rip-master start . --select ", &["lifo", "least-inflight"]),
        ("rip-master ctl restart --no-w", &["--no-wait"]),
        ("rip-master completions f", &["fish"]),
        ("rip-master start shop.py w", &["w:auto", "w:half"]),
        ("rip-master start shop.py w:", &["auto", "half"]),
        ("rip-master start shop.py w:h", &["half"]),
        ("rip-master start builtin:ec", &["echo"]),
        ("rip-master start htt", &["http", "http:8080", "https", "https:8443"]),
        ("rip-master start --cert sh", &["shop.py"]),
        // Left to bash itself, which offers files.
        ("rip-master start sh", &[]),
    ] {
        let mut offered = offered(&script, line);
        offered.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(offered, expected, "{line}");
    }
    let verbs = offered(&script, "rip-master ");
    for verb in ["start", "stop", "reload", "completions", "man", "ctl", "--help"] {
        assert!(verbs.iter().any(|offered| offered == verb), "{verb}: {verbs:?}");
    }
}

#[test]
fn every_shell_gets_its_script_and_others_a_usage_error() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef rip-master"),
        ("fish", "complete -c rip-master"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        assert!(run(&["completions", shell]).contains(mark), "{shell}");
    }
    let output = tools::finish(tools::rip_master().args(["completions", "fihs"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(tools::both(&output).contains("'fish'"), "{}", tools::both(&output));
}

#[test]
fn the_manual_is_read_without_a_warning() {
    let place = place("manual");
    run(&["man", "--dir", &place.display().to_string()]);
    assert_eq!(run(&["man"]), fs::read_to_string(place.join("rip-master.1")).unwrap());
    let page = fs::read_to_string(place.join("rip-master-ctl-scale.1")).unwrap();
    assert_eq!(run(&["man", "ctl", "scale"]), page);
    let mut count = 0;
    for entry in fs::read_dir(&place).expect("the pages") {
        let page = entry.expect("a page").path();
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output();
        let lint = lint.expect("mandoc is missing: run scripts/setup");
        assert!(lint.status.success(), "{}", tools::both(&lint));
        count += 1;
    }
    // As many as the command line has verbs, and one for itself.
    let verbs = |arguments: &[&str]| {
        let help = run(arguments);
        let listed = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let names = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let lines = listed.unwrap_or_default().lines().filter(|line| line.starts_with("  "));
        lines.filter_map(names).filter(|name| name != "help").collect::<Vec<_>>()
    };
    let (above, below) = (verbs(&["--help"]), verbs(&["ctl", "--help"]));
    let certs = verbs(&["ctl", "certs", "--help"]);
    assert_eq!(count, 1 + above.len() + below.len() + certs.len());
    for (path, names) in [("", above), ("-ctl", below), ("-ctl-certs", certs)] {
        for name in names {
            let page = place.join(format!("rip-master{path}-{name}.1"));
            assert!(page.exists(), "{}", page.display());
        }
    }
}
