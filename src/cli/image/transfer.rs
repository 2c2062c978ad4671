//! `load`, `save`, `import`.

use super::{CommandError, Exit, Global, Outcome, failed, platform, reference, render::Printer, store};
use banyan_runtime::{
    build::apply_changes,
    image::{ImageConfig, Reference, save::Form},
};
use clap::{Args, ValueEnum};
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

/// `image load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Archive or OCI layout folder instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Which image of an index to take
    #[arg(long)]
    platform: Option<String>,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

impl Load {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let (platform, printer) = (platform(self.platform.as_deref())?, Printer::new(global));
        let loaded = match &self.input {
            Some(path) => store.load_path(path, &platform, &printer),
            None if std::io::stdin().is_terminal() => {
                return Err(
                    CommandError::new(Exit::Usage, "there is no archive on standard input")
                        .hint("`banyan image load --input FILE`"),
                );
            }
            None => store.load_stream(std::io::stdin(), &platform, &printer),
        };
        let loaded =
            loaded.map_err(|error| CommandError::caused(Exit::Failed, "cannot load the archive", &error))?;
        for image in loaded.iter().filter(|_| !self.quiet) {
            match image.names.as_slice() {
                [] => say(&format!("Loaded image ID: {}\n", image.id)),
                names => names
                    .iter()
                    .for_each(|name| say(&format!("Loaded image: {}\n", name.familiar()))),
            }
        }
        Ok(Exit::Success)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveFormat {
    /// What `docker load` and `podman load` take.
    DockerArchive,
    /// An OCI image layout in a tar archive.
    OciArchive,
}

/// `image save`.
#[derive(Debug, Args)]
pub(super) struct Save {
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
    /// File instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Kind of archive
    #[arg(long, value_enum, default_value_t = SaveFormat::DockerArchive)]
    format: SaveFormat,
}

impl Save {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let mut images = Vec::new();
        for name in &self.names {
            let image = store
                .lookup(name)
                .map_err(|error| failed(format!("cannot save `{name}`"), &error))?;
            // An id saves the image without names, as `docker save` does.
            images.push((image.id, image.reference.into_iter().collect::<Vec<Reference>>()));
        }
        let form = match self.format {
            SaveFormat::DockerArchive => Form::Docker,
            SaveFormat::OciArchive => Form::Oci,
        };
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            CommandError::caused(Exit::Failed, "cannot save the images", error)
        };
        match &self.output {
            None if std::io::stdout().is_terminal() => Err(CommandError::new(
                Exit::Usage,
                "an archive does not belong on a terminal",
            )
            .hint("`banyan image save --output FILE …`")),
            None => {
                store
                    .save(&images, form, std::io::stdout().lock())
                    .map_err(|error| wrong(&error))?;
                Ok(Exit::Success)
            }
            Some(path) => {
                let file = fs_err::File::create(path).map_err(|error| wrong(&error))?;
                store
                    .save(&images, form, std::io::BufWriter::with_capacity(1 << 20, file))
                    .map_err(|error| wrong(&error))?;
                Ok(Exit::Success)
            }
        }
    }
}

/// `image import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Archive of a root file system; `-` is standard input
    file: PathBuf,
    /// Name for the image
    name: Option<String>,
    /// Instruction of a Dockerfile to apply (`CMD`, `ENV`, …); may be given several times
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Remark in the image's history
    #[arg(short, long, default_value = "")]
    message: String,
    /// What the image is for
    #[arg(long)]
    platform: Option<String>,
}

impl Import {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let name = self.name.as_deref().map(reference).transpose()?;
        let mut config = ImageConfig::default();
        apply_changes(&mut config, &self.change)
            .map_err(|error| CommandError::caused(Exit::Usage, "`--change` is wrong", &error))?;
        let platform = platform(self.platform.as_deref())?;
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            CommandError::caused(Exit::Failed, "cannot import the archive", error)
        };
        let id = if self.file.as_os_str() == "-" {
            store.import(std::io::stdin(), config, &self.message, &platform)
        } else {
            let file = fs_err::File::open(&self.file).map_err(|error| wrong(&error))?;
            store.import(file, config, &self.message, &platform)
        }
        .map_err(|error| wrong(&error))?;
        if let Some(name) = name {
            store
                .tag(id, &name)
                .map_err(|error| failed("cannot tag the image", &error))?;
        }
        say(&format!("{id}\n"));
        Ok(Exit::Success)
    }
}
