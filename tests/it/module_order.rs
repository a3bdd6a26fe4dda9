//! The order of the modules: each imports only the modules above it in the list of `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// The names of the modules in the order of `src/lib.rs`.
fn listed_modules(root: &Path) -> Vec<String> {
    let library = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let names = library.lines().filter_map(|line| {
        let name = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))?;
        name.strip_suffix(';')
    });
    names.map(str::to_owned).collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that a file names as `crate::module`, or as `crate::{module, …}`, outside comments.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (_, rest) in
            line.match_indices("crate::").map(|(at, found)| (at, &line[at + found.len()..]))
        {
            let group = rest.strip_prefix('{').and_then(|group| group.split('}').next());
            let imports = group.map_or_else(|| vec![rest], |group| group.split(", ").collect());
            let name = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned()
            };
            named.extend(imports.into_iter().map(name));
        }
    }
    named
}

#[test]
fn modules_import_only_those_above_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = listed_modules(root);
    let position = |name: &str| modules.iter().position(|module| module == name);
    assert!(modules.len() > 20 && position("house") > position("device"), "{modules:?}");
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    let (mut upward, mut imports) = (Vec::new(), 0);
    for file in files {
        let inside = file.strip_prefix(root.join("src")).unwrap();
        let own = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(own) = position(own.trim_end_matches(".rs")) else { continue };
        for name in named_modules(&fs::read_to_string(&file).unwrap()) {
            let Some(named) = position(&name) else { continue };
            imports += 1;
            if named > own {
                upward.push(format!("{} imports {name}", inside.display()));
            }
        }
    }
    assert!(imports > 500, "only {imports} imports were found");
    assert_eq!(upward, Vec::<String>::new());
}
