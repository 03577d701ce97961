//! Where the service is, and with which key: from the command line, the environment, or a profile of the
//! configuration file.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::terminal::shown;

/// The service and the credential.
///
/// Each comes from the command line, else from the profile that --profile names, else from the environment, else
/// from the default profile.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct Remote {
    /// URL of the service. Environment: LOGFERRY_URL, or API_URL.
    #[arg(long, visible_alias = "api", value_name = "URL")]
    url: Option<String>,
    /// An app's API key, or for commands that read a view token. Other users can see the command line: prefer
    /// LOGFERRY_API_KEY, or a profile.
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Profile of the configuration file. Environment: LOGFERRY_PROFILE.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Configuration file. Environment: LOGFERRY_CONFIG. Without it: ~/.config/logferry/config.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    /// The profile that is used if none is named.
    default_profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// A service and its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: Option<String>,
    api_key: Option<String>,
    admin_key: Option<String>,
    /// The app that the administrator's requests are about.
    app: Option<String>,
}

/// A setting, and where it was found, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: String,
    pub(crate) source: String,
    /// Whether the command line says it, or the profile that it names.
    pub(crate) named: bool,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) api_key: Option<Found>,
    pub(crate) admin_key: Option<Found>,
    pub(crate) app: Option<String>,
}

impl Remote {
    pub(crate) fn find(&self) -> Result<Place, Box<dyn Error>> {
        self.find_with(&|name| std::env::var(name).ok())
    }

    fn find_with(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Place, Box<dyn Error>> {
        let path = self.config_path(env);
        let config = match &path {
            Some((path, named)) => read(path, *named)?,
            None => ConfigFile::default(),
        };
        let named = self.profile.clone().or_else(|| env("LOGFERRY_PROFILE").filter(|name| !name.is_empty()));
        let chosen = named.or_else(|| config.default_profile.clone());
        let profile = match &chosen {
            None => Profile::default(),
            Some(name) => config.profiles.get(name).cloned().ok_or_else(|| unknown(name, &config, &path))?,
        };
        let of_profile = format!("the profile {}", chosen.unwrap_or_default());
        let pick = |flag: Option<&String>, flag_name: &str, vars: &[&str], own: Option<&String>| {
            let found = |value: &String, source: &str, named: bool| Found {
                value: value.clone(),
                source: source.to_owned(),
                named,
            };
            let flag = flag.map(|value| found(value, flag_name, true));
            let own = own.map(|value| found(value, &of_profile, self.profile.is_some()));
            let var = || {
                let set = vars.iter().find_map(|name| Some((env(name)?, name)));
                set.map(|(value, name)| found(&value, name, false))
            };
            match self.profile.is_some() {
                true => flag.or(own).or_else(var),
                false => flag.or_else(var).or(own),
            }
        };
        let url = pick(self.url.as_ref(), "--url", &["LOGFERRY_URL", "API_URL"], profile.url.as_ref())
            .ok_or("which service? Set LOGFERRY_URL, pass --url, or name it in a profile")?;
        check(&url)?;
        let set = |found: Option<Found>| match found {
            Some(found) if found.value.is_empty() => Err(format!("{} is empty", found.source)),
            found => Ok(found),
        };
        Ok(Place {
            url: url.value,
            api_key: set(pick(
                self.api_key.as_ref(),
                "--api-key",
                &["LOGFERRY_API_KEY"],
                profile.api_key.as_ref(),
            ))?,
            admin_key: set(pick(None, "", &["LOGFERRY_ADMIN_KEY"], profile.admin_key.as_ref()))?,
            app: pick(None, "", &["LOGFERRY_APP"], profile.app.as_ref()).map(|found| found.value),
        })
    }

    /// The path, and whether it was named: only then the file must exist.
    fn config_path(&self, env: &dyn Fn(&str) -> Option<String>) -> Option<(PathBuf, bool)> {
        let named = self.config.clone().or_else(|| env("LOGFERRY_CONFIG").map(PathBuf::from));
        if let Some(path) = named {
            return Some((path, true));
        }
        let folder = env("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = folder.or_else(|| Some(PathBuf::from(env("HOME")?).join(".config")))?;
        Some((folder.join("logferry/config.toml"), false))
    }
}

fn check(url: &Found) -> Result<(), String> {
    let Found { value, source, .. } = url;
    if value.is_empty() {
        return Err(format!("{source} is empty"));
    }
    if !value.starts_with("http://") && !value.starts_with("https://") {
        return Err(format!("{source} must begin with http:// or https://, and is {value}"));
    }
    Ok(())
}

fn read(path: &Path, must_exist: bool) -> Result<ConfigFile, Box<dyn Error>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(ConfigFile::default());
        }
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let config: ConfigFile =
        toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), said(&error, &text)))?;
    let has_keys = config.profiles.values().any(|own| own.api_key.is_some() || own.admin_key.is_some());
    if let Some(mode) = others_read(path).filter(|_| has_keys) {
        eprintln!(
            "logferry: other users may read the keys in {} (mode {mode:o}): chmod 600",
            shown(&path.display().to_string())
        );
    }
    Ok(config)
}

/// The line and the reason of a syntax error, without the line's text: it may hold a key.
fn said(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
    let reason = match error.message() {
        // It quotes the value.
        message if message.starts_with("invalid type") => "a value of another type is expected",
        message => message,
    };
    format!("line {line}: {reason}")
}

/// The mode of a file that others may read.
fn others_read(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn unknown(name: &str, config: &ConfigFile, path: &Option<(PathBuf, bool)>) -> String {
    let known: Vec<_> = config.profiles.keys().map(String::as_str).collect();
    let file =
        path.as_ref().map_or_else(|| "the configuration".to_owned(), |(path, _)| path.display().to_string());
    match known.is_empty() {
        true => format!("there is no profile {name}: {file} has none"),
        false => format!("there is no profile {name}: {file} has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(args: &[&str], env: &[(&str, &str)], file: &str) -> Result<Place, String> {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            remote: Remote,
        }
        let path = std::env::temp_dir().join(format!("logferry-config-{:?}", std::thread::current().id()));
        std::fs::write(&path, file).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let config = path.to_str().unwrap().to_owned();
        let args = ["logferry", "--config", &config].into_iter().chain(args.iter().copied());
        let remote = <Cli as clap::Parser>::try_parse_from(args).unwrap().remote;
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let found = remote.find_with(&env).map_err(|error| error.to_string().replace(&config, "FILE"));
        std::fs::remove_file(path).unwrap();
        found
    }

    const FILE: &str = "default_profile = \"prod\"\n[profiles.prod]\nurl = \"https://prod\"\napi_key = \"p\"\n\
                        [profiles.local]\nurl = \"http://local\"\nadmin_key = \"a\"\napp = \"shop\"\n";

    #[test]
    fn a_flag_goes_before_a_named_profile_before_the_environment_before_the_default() {
        let env = [("LOGFERRY_URL", "http://env"), ("LOGFERRY_API_KEY", "e")];
        let key = |place: &Place| {
            let named = |key: &Found| if key.named { ", named" } else { "" };
            place.api_key.as_ref().map(|key| format!("{} from {}{}", key.value, key.source, named(key)))
        };
        let place = find(&["--url", "http://flag"], &env, FILE).unwrap();
        assert_eq!(
            (place.url.as_str(), key(&place).as_deref()),
            ("http://flag", Some("e from LOGFERRY_API_KEY"))
        );
        let place = find(&["--profile", "prod"], &env, FILE).unwrap();
        assert_eq!(
            (place.url.as_str(), key(&place).as_deref()),
            ("https://prod", Some("p from the profile prod, named"))
        );
        let place = find(&["--api-key", "f"], &env, FILE).unwrap();
        assert_eq!(key(&place).as_deref(), Some("f from --api-key, named"));
        let place = find(&[], &[], FILE).unwrap();
        assert_eq!(
            (place.url.as_str(), key(&place).as_deref()),
            ("https://prod", Some("p from the profile prod"))
        );
        let place = find(&[], &[("LOGFERRY_PROFILE", "local"), ("API_URL", "http://api")], FILE).unwrap();
        assert_eq!(
            (place.url.as_str(), place.app.as_deref(), key(&place)),
            ("http://api", Some("shop"), None)
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_with_its_name() {
        for (args, env, file, message) in [
            (&[][..], &[][..], "", "which service? Set LOGFERRY_URL, pass --url, or name it in a profile"),
            (&[], &[("LOGFERRY_URL", "")], "", "LOGFERRY_URL is empty"),
            (&["--url", "not-a-url"], &[], "", "--url must begin with http:// or https://, and is not-a-url"),
            (&["--url", "http://x"], &[("LOGFERRY_API_KEY", "")], "", "LOGFERRY_API_KEY is empty"),
            (&["--profile", "stage"], &[], FILE, "there is no profile stage: FILE has local, prod"),
        ] {
            assert_eq!(find(args, env, file).unwrap_err(), message);
        }
        let typo = find(&[], &[], "[profiles.a]\nurll = \"x\"").unwrap_err();
        assert!(typo.starts_with("FILE: line 2: unknown field `urll`"), "{typo}");
        for key in ["apikey = \"4711\"", "api_key = 4711", "api_key = \"4711", "api_key = 47'11"] {
            let refused = find(&[], &[], &format!("[profiles.a]\n{key}")).unwrap_err();
            assert!(refused.starts_with("FILE: line 2: ") && !refused.contains("47"), "{key}: {refused}");
        }
    }
}
