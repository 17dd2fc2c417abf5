//! The language, by examples: what is right becomes a configuration, what is wrong is told so that
//! an operator knows what to do.

mod machine;

use machine::Machine;
use rip::edgefile::compile;

#[test]
fn smoke() {
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edgefile/good")).unwrap()
    {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        let mut outcome = compile(&text, &Machine);
        println!("{path:?}\n{}", serde_json::to_string_pretty(&outcome).unwrap());
        let back = serde_json::from_str(&serde_json::to_string(&outcome).unwrap());
        println!("{:?}", back.as_ref().map(|b: &rip::edgefile::Outcome| *b == outcome));
        println!("{:?}", outcome.take_config().map(|c| c.apps));
    }
}
