//! The packages of a source tree, read when they are first asked for, and what their types are in a schema.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::go::{Declared, Field, Package, Stated, Type};

type Read<T> = Result<T, Box<dyn Error>>;

/// Packages whose types have a JSON or protobuf form of their own, with the letter that stands for each.
const SPECIAL: &[(&str, &str, char)] = &[
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "Time", 't'),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "MicroTime", 'm'),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "Duration", 'u'),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "FieldsV1", 'f'),
    ("k8s.io/apimachinery/pkg/api/resource", "Quantity", 'q'),
    ("k8s.io/apimachinery/pkg/util/intstr", "IntOrString", 'x'),
    ("k8s.io/apimachinery/pkg/runtime", "RawExtension", 'r'),
];

/// The types of custom resources' schemas that are one of two sorts of values.
const SCHEMAS: &[(&str, char)] = &[
    ("JSON", 'j'),
    ("JSONSchemaPropsOrArray", 'A'),
    ("JSONSchemaPropsOrBool", 'B'),
    ("JSONSchemaPropsOrStringArray", 'S'),
];

/// A source tree.
pub(super) struct Universe {
    staging: PathBuf,
    packages: RefCell<BTreeMap<String, Rc<Package>>>,
}

/// What a Go type is in a schema.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// As `schema.txt` writes it.
    pub text: String,
    /// The name of a named scalar, or with `=` before it of a named list or map.
    pub named: String,
    /// Whether protobuf has a message around the items of a named list.
    pub wrapped: bool,
    pub pointer: bool,
}

impl Universe {
    /// The tree in a folder.
    pub(super) fn new(root: &Path) -> Self {
        Self { staging: root.join("staging/src"), packages: RefCell::default() }
    }

    /// Where the package of this path stands.
    pub(super) fn folder(&self, path: &str) -> PathBuf {
        self.staging.join(path)
    }

    /// A package.
    ///
    /// # Errors
    /// What is not there or not understood.
    pub(super) fn package(&self, path: &str) -> Read<Rc<Package>> {
        if let Some(package) = self.packages.borrow().get(path) {
            return Ok(package.clone());
        }
        let package = Rc::new(Package::read(&self.folder(path))?);
        self.packages.borrow_mut().insert(path.to_string(), package.clone());
        Ok(package)
    }

    /// The paths of the packages that hold versions of a group: the folders `under/GROUP/VERSION` with a `types.go`.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn versions_under(&self, under: &str) -> Read<Vec<String>> {
        let mut found = Vec::new();
        for group in folders(&self.folder(under))? {
            for version in folders(&self.folder(&format!("{under}/{group}")))? {
                let path = format!("{under}/{group}/{version}");
                let is_version = version.starts_with('v') && version[1..].starts_with(|c: char| c.is_ascii_digit());
                if is_version && self.folder(&path).join("types.go").exists() {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// The package and the name that a type written in `file` of `path` means; none if it is built in.
    ///
    /// # Errors
    /// An import that is not there.
    pub(super) fn meant(&self, path: &str, file: usize, qualifier: &str, name: &str) -> Read<Option<(String, String)>> {
        let package = self.package(path)?;
        if !qualifier.is_empty() {
            let to = package.imports[file].get(qualifier);
            let to = to.ok_or_else(|| format!("{path}: {qualifier}.{name}: no import has that name"))?;
            return Ok(Some((to.clone(), name.to_string())));
        }
        match package.types.get(name) {
            Some(Declared { alias: true, of: Type::Named(qualifier, name), file, .. }) => {
                self.meant(path, *file, qualifier, name)
            }
            other => Ok(other.map(|_| (path.to_string(), name.to_string()))),
        }
    }

    /// The text of a constant, also of one that is another.
    ///
    /// # Errors
    /// A constant that is not there.
    pub(super) fn text(&self, path: &str, name: &str) -> Read<String> {
        let package = self.package(path)?;
        let constant = package.constants.iter().find(|constant| constant.name == name);
        let constant = constant.ok_or_else(|| format!("{path}: there is no constant {name} that is a text"))?;
        match &constant.value {
            Stated::Text(text) => Ok(text.clone()),
            Stated::Constant(qualifier, name) if qualifier.is_empty() => self.text(path, name),
            Stated::Constant(qualifier, name) => {
                let to = package.imports[constant.file].get(qualifier);
                self.text(to.ok_or_else(|| format!("{path}: no import is called {qualifier}"))?, name)
            }
        }
    }

    /// The declaration that a type's fields come from: its own, or that of the type it was made of (`type A b.B`), with
    /// the path of the package that they are written in.
    ///
    /// # Errors
    /// A type that is not there.
    pub(super) fn declared(&self, path: &str, name: &str) -> Read<(String, Declared)> {
        let package = self.package(path)?;
        let declared = package.types.get(name).ok_or_else(|| format!("{path}: there is no type {name}"))?;
        if let Type::Named(qualifier, name) = &declared.of
            && let Some((path, name)) = self.meant(path, declared.file, qualifier, name)?
        {
            return self.declared(&path, &name);
        }
        Ok((path.to_string(), declared.clone()))
    }

    /// The struct that a field embeds: the path of its package and its name.
    ///
    /// # Errors
    /// What has no name.
    pub(super) fn embedded(&self, path: &str, file: usize, of: &Type) -> Read<(String, String)> {
        if let Type::Named(qualifier, name) = of
            && let Some(meant) = self.meant(path, file, qualifier, name)?
        {
            return Ok(meant);
        }
        Err(format!("{path}: {of:?} is embedded and no struct").into())
    }

    /// The structs that a type consists of, by package and name.
    ///
    /// # Errors
    /// A type that is not there.
    pub(super) fn structs_in(&self, path: &str, file: usize, of: &Type) -> Read<Vec<(String, String)>> {
        match of {
            Type::Pointer(of) | Type::List(of) | Type::Map(_, of) => self.structs_in(path, file, of),
            Type::Other | Type::Struct(_) => Ok(Vec::new()),
            Type::Named(qualifier, name) => {
                let Some((path, name)) = self.meant(path, file, qualifier, name)? else { return Ok(Vec::new()) };
                let schemas = SCHEMAS.iter().any(|(special, letter)| *special == name && *letter != 'j');
                if schemas && path.contains("/apiextensions/") {
                    return Ok(vec![(path, "JSONSchemaProps".to_string())]);
                }
                if has_form_of_its_own(&path, &name) {
                    return Ok(Vec::new());
                }
                let (home, declared) = self.declared(&path, &name)?;
                match &declared.of {
                    Type::Struct(_) => Ok(vec![(path, name)]),
                    of => self.structs_in(&home, declared.file, of),
                }
            }
        }
    }

    /// The names of the messages that protobuf has of a package.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn messages(&self, path: &str) -> Read<BTreeSet<String>> {
        let file = self.folder(path).join("generated.proto");
        if !file.exists() {
            return Ok(BTreeSet::new());
        }
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let names = text.lines().filter_map(|line| line.strip_prefix("message ")?.split(' ').next());
        Ok(names.map(str::to_string).collect())
    }

    /// The shape of a field's type.
    ///
    /// # Errors
    /// What a schema cannot say.
    pub(super) fn shape(&self, path: &str, file: usize, field: &Field) -> Read<Shape> {
        let mut shape = Shape::default();
        let mut of = &field.of;
        if let Type::Pointer(to) = of {
            shape.pointer = true;
            of = to;
        }
        self.add(&mut shape, path, file, of, 0)?;
        Ok(shape)
    }

    fn add(&self, shape: &mut Shape, path: &str, file: usize, of: &Type, depth: usize) -> Read<()> {
        match of {
            Type::Pointer(to) => self.add(shape, path, file, to, depth),
            Type::List(items) if **items == Type::Named(String::new(), "byte".into()) => {
                shape.text.push('y');
                Ok(())
            }
            Type::List(items) => {
                shape.text.push('[');
                self.add(shape, path, file, items, depth + 1)
            }
            Type::Map(_, values) => {
                shape.text.push('{');
                self.add(shape, path, file, values, depth + 1)
            }
            Type::Other => {
                shape.text.push('v');
                Ok(())
            }
            Type::Struct(_) => Err(format!("{path}: a struct without a name").into()),
            Type::Named(qualifier, name) => match self.meant(path, file, qualifier, name)? {
                Some((path, name)) => self.add_named(shape, &path, &name, depth),
                None => {
                    let letter = scalar(name).ok_or_else(|| format!("{path}: the type {name} is not known"))?;
                    shape.text.push(letter);
                    Ok(())
                }
            },
        }
    }

    fn add_named(&self, shape: &mut Shape, path: &str, name: &str, depth: usize) -> Read<()> {
        if let Some((_, _, letter)) = SPECIAL.iter().find(|(of, special, _)| (*of, *special) == (path, name)) {
            shape.text.push(*letter);
            return Ok(());
        }
        if let Some((_, letter)) = SCHEMAS.iter().find(|(special, _)| *special == name)
            && path.contains("/apiextensions/")
        {
            shape.text.push(*letter);
            if *letter != 'j' {
                shape.text.push('@');
                shape.text.push_str(&short(path, "JSONSchemaProps"));
            }
            return Ok(());
        }
        let (home, declared) = self.declared(path, name)?;
        let known_as = format!("{}.{name}", last(path));
        match &declared.of {
            Type::Struct(_) => {
                shape.text.push('@');
                shape.text.push_str(&short(path, name));
                Ok(())
            }
            Type::List(_) | Type::Map(..) => {
                shape.named = format!("={known_as}");
                shape.wrapped = depth == 0 && declared.markers.iter().any(|marker| marker == "protobuf.nullable=true");
                self.add(shape, &home, declared.file, &declared.of, depth)
            }
            of => {
                self.add(shape, &home, declared.file, of, depth)?;
                if !shape.named.starts_with('=') && shape.text.ends_with(['s', 'b', 'i', 'l', 'd']) {
                    shape.named = known_as;
                }
                Ok(())
            }
        }
    }
}

/// Whether a type is no struct in JSON, whatever it is in Go.
pub(super) fn has_form_of_its_own(path: &str, name: &str) -> bool {
    let special = SPECIAL.iter().any(|(of, special, _)| (*of, *special) == (path, name));
    special || path.contains("/apiextensions/") && SCHEMAS.iter().any(|(special, _)| *special == name)
}

fn folders(of: &Path) -> Read<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(of).map_err(|error| format!("{}: {error}", of.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name of a definition in the OpenAPI documents.
pub(super) fn full(path: &str, name: &str) -> String {
    format!("{}.{name}", path.replacen("k8s.io/", "io.k8s.", 1).replace('/', "."))
}

/// The name of a definition as references write it: without what all of them begin with.
pub(super) fn short(path: &str, name: &str) -> String {
    short_of(&full(path, name)).to_string()
}

/// The short name of a definition, by either of its names.
pub(super) fn short_of(name: &str) -> &str {
    PREFIXES.lines().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// What short names leave out.
const PREFIXES: &str = include_str!("../../../api/data/overlay/prefixes.txt");

fn scalar(name: &str) -> Option<char> {
    Some(match name {
        "string" => 's',
        "bool" => 'b',
        "int32" => 'i',
        "int" | "int64" => 'l',
        "float64" => 'd',
        "any" => 'v',
        _ => return None,
    })
}
