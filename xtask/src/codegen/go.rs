//! A reader of Go declarations, as far as data needs them: types with their fields, tags and markers, and constants
//! that are texts. Bodies of functions are left out. What it does not understand is an error with file and line.

mod reader;
mod tokens;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use reader::Reader;

/// A type as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// A name, with the name of an import before it or empty.
    Named(String, String),
    Pointer(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Struct(Vec<Field>),
    /// An interface, a function or a channel: nothing that is data.
    Other,
}

/// A field of a struct; embedded ones have the name of their type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub embedded: bool,
    pub of: Type,
    pub tag: String,
    pub markers: Vec<String>,
    pub line: usize,
}

/// A declared type.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub of: Type,
    /// Whether it is another name and no type of its own.
    pub alias: bool,
    pub markers: Vec<String>,
    /// The file and line, to be shown.
    pub place: String,
    pub file: usize,
}

/// A constant that is a text or another constant: its name, its type if it states one, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constant {
    pub name: String,
    pub of: String,
    pub value: Stated,
    pub file: usize,
}

/// The value of a constant as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stated {
    Text(String),
    /// Another constant, with the name of an import before it or empty.
    Constant(String, String),
}

/// A package: what its files declare.
#[derive(Debug, Default)]
pub(super) struct Package {
    pub types: BTreeMap<String, Declared>,
    pub constants: Vec<Constant>,
    /// Of each file: the names of its imports and their paths.
    pub imports: Vec<BTreeMap<String, String>>,
    /// The markers that stand above `package` in any file.
    pub markers: Vec<String>,
}

impl Package {
    /// Reads the package in a folder: all its files but tests.
    ///
    /// # Errors
    /// The file, and the line of what is not understood.
    pub(super) fn read(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let mut package = Self::default();
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?
            .collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files {
            let name = file.file_name().to_string_lossy().into_owned();
            // Generated files are functions and as large as everything else.
            let declares = name.ends_with(".go") && !name.ends_with("_test.go") && !name.ends_with(".pb.go");
            if declares && !name.starts_with("zz_generated") && !name.starts_with("types_swagger") {
                let text = std::fs::read_to_string(file.path())?;
                package.add(&file.path().display().to_string(), &text)?;
            }
        }
        Ok(package)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The file, and the line of what is not understood.
    pub(super) fn add(&mut self, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
        let tokens = tokens::read(text).map_err(|error| format!("{name}: {error}"))?;
        let file = self.imports.len();
        self.imports.push(BTreeMap::new());
        Reader::new(name, tokens, self, file).file()
    }
}

#[cfg(test)]
mod tests;
