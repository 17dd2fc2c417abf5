//! `--env`: what is added to the app's environment.

use super::exit::Failure;
use rip::wire::dotenv;
use std::collections::BTreeMap;
use std::path::Path;

/// The variables of `items`, each `KEY=VALUE` or the path of a file of such lines; later ones win.
///
/// # Errors
/// A file that cannot be read, or a line in it that is no assignment. Values are never shown.
pub fn collect(items: &[String], cwd: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for item in items {
        match item.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, value)) => {
                variables.insert(name.to_owned(), value.to_owned());
            }
            None => variables.extend(read(item, &cwd.join(item))?),
        }
    }
    Ok(variables)
}

fn read(item: &str, path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        // It may be a secret with its name forgotten: only a path is shown.
        let shown = if path.exists() || item.contains('/') { item } else { "its value" };
        Failure::configuration(format!(
            "--env: {shown} is neither KEY=VALUE nor a file that can be read: {error}"
        ))
    })?;
    match dotenv::parse(&text) {
        (pairs, odd) if odd.is_empty() => Ok(pairs),
        (_, odd) => {
            let lines: Vec<String> = odd.iter().map(usize::to_string).collect();
            Err(Failure::configuration(format!(
                "--env {item}: line {} is not KEY=VALUE",
                lines.join(", ")
            )))
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_and_files_are_merged_and_later_ones_win() {
        let path = std::env::temp_dir().join(format!("rip-env-{}", std::process::id()));
        std::fs::write(&path, "A=file\nB='two words'\n# no\n").unwrap();
        let file = path.to_str().unwrap().to_owned();
        let items = ["A=1".to_owned(), file.clone(), "C=x=y".to_owned(), "D=".to_owned()];
        let expected = [("A", "file"), ("B", "two words"), ("C", "x=y"), ("D", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(collect(&items, Path::new("/")).unwrap(), expected);

        std::fs::write(&path, "A=1\nsecret words\n").unwrap();
        let failure = collect(std::slice::from_ref(&file), Path::new("/")).unwrap_err();
        assert_eq!(failure.message, format!("--env {file}: line 2 is not KEY=VALUE"));
        std::fs::remove_file(&path).unwrap();

        let failure = collect(&["hunter2".to_owned()], Path::new("/")).unwrap_err();
        assert!(failure.message.starts_with("--env: its value is neither"));
        assert_eq!(failure.exit.code(), 78);
    }
}
