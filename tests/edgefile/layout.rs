//! Laying out: nothing is lost, nothing changes twice.

use crate::corpus::files;
use crate::machine::Machine;
use rip::edgefile::compile;
use rip::edgefile::fmt::format;

#[test]
fn a_laid_out_file_says_the_same() {
    let mut count = 0;
    for (path, text) in files("good").into_iter().chain(files("bad")) {
        let Ok(once) = format(&text) else { continue };
        count += 1;
        assert_eq!(format(once.as_bytes()).unwrap(), once, "{}", path.display());
        let read = |text: &[u8]| {
            let mut outcome = compile(text, &Machine);
            for rule in outcome.config.iter_mut().flat_map(|config| &mut config.routes) {
                rule.line = None;
            }
            let messages: Vec<String> =
                outcome.diagnostics.iter().map(|found| found.path.clone()).collect();
            (outcome.config, outcome.secrets, messages)
        };
        assert_eq!(read(&text), read(once.as_bytes()), "{}\n{once}", path.display());
    }
    assert!(count > 80, "{count}");
}
