//! No files of a crate may import each other in a circle: a reader of one would have to read all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, ItemMod, ItemUse, UseTree, Visibility};

/// The crates whose files are looked at.
const CRATES: [&str; 13] = [
    "adapter-amqp",
    "adapter-crypto",
    "adapter-mail",
    "adapter-memory",
    "adapter-redis",
    "adapter-sql",
    "adapter-webhook",
    "api",
    "application",
    "boxoffice",
    "caching",
    "domain",
    "../migration",
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = BTreeMap::new();
    for name in CRATES {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name).join("src");
        let imports = imports(&source);
        assert!(imports.len() > 1, "{}: no files", source.display());
        let circle = in_circles(imports);
        if !circle.is_empty() {
            circles.insert(name, circle);
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_is_found_with_what_it_imports() {
    let imports = |pairs: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
        pairs
            .iter()
            .map(|(file, used)| ((*file).to_owned(), used.iter().map(|&used| used.to_owned()).collect()))
            .collect()
    };
    assert!(in_circles(imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let circle = imports(&[("b", &["c"]), ("c", &["b"])]);
    assert_eq!(in_circles(imports(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["b"]), ("d", &[])])), circle);
}

/// The modules that each module of a crate imports, those of its tests left out. A module is a file.
fn imports(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let files = modules(source);
    let mut imports = BTreeMap::new();
    for (module, file) in &files {
        let code = syn::parse_file(&fs::read_to_string(file).expect("a source file")).expect("Rust");
        let mut found = Found { module, paths: Vec::new() };
        found.visit_file(&code);
        let names = |path: &Vec<String>| {
            let longest = (1..=path.len()).rev().map(|length| path[..length].join("::"));
            longest.into_iter().find(|name| files.contains_key(name))
        };
        let used = found.paths.iter().filter_map(names).filter(|used| used != module).collect();
        imports.insert(module.clone(), used);
    }
    imports
}

fn modules(source: &Path) -> BTreeMap<String, PathBuf> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(source).expect("a file within").with_extension("");
                let name = inside.to_str().expect("UTF-8").replace('/', "::");
                let name = name.strip_suffix("::mod").unwrap_or(&name);
                if !["lib", "main", "tests"].contains(&name) {
                    modules.insert(name.to_owned(), path);
                }
            }
        }
    }
    modules
}

/// Removes, again and again, the modules that import none of the rest or are imported by none; returns the rest.
fn in_circles(mut imports: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        let left = |module: &String, used: &BTreeSet<String>| !used.is_empty() && imported.contains(module);
        let ends: Vec<_> =
            imports.iter().filter(|(module, used)| !left(module, used)).map(|(module, _)| module.clone()).collect();
        if ends.is_empty() {
            return imports;
        }
        for end in ends {
            imports.remove(&end);
            for used in imports.values_mut() {
                used.remove(&end);
            }
        }
    }
}

/// Paths of a file that begin within its crate.
struct Found<'a> {
    module: &'a str,
    paths: Vec<Vec<String>>,
}

impl Found<'_> {
    fn tree(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.tree(&[before, &[path.ident.to_string()]].concat(), &path.tree),
            UseTree::Name(name) => self.path(&[before, &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.path(&[before, &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.path(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }

    fn path(&mut self, path: &[String]) {
        let above = path.iter().take_while(|name| *name == "super").count();
        let mut module: Vec<_> = self.module.split("::").map(str::to_owned).collect();
        match path.first().map(String::as_str) {
            Some("crate") => self.paths.push(path[1..].to_vec()),
            Some("super") if above <= module.len() => {
                module.truncate(module.len() - above);
                module.extend_from_slice(&path[above..]);
                self.paths.push(module);
            }
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&[], &item.tree);
    }

    /// A visibility (`pub(in path)`) imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&names);
        syn::visit::visit_path(self, path);
    }
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}
