//! Says where it can be reached: `dev.json` for programs, a few lines for people.

use super::{data_dir::DataDir, stack::Addresses};
use std::{fs, io};

/// Writes `dev.json` in one step, then prints.
pub fn announce(data_dir: &DataDir, addresses: &Addresses) -> io::Result<()> {
    let text = serde_json::json!({
        "pid": std::process::id(),
        "broker": addresses.broker,
        "governor": addresses.governor,
        "http": addresses.http,
    });
    let file = data_dir.ready_file();
    let fresh = file.with_extension("json.new");
    fs::write(&fresh, format!("{text}\n"))?;
    fs::rename(&fresh, &file)?;
    print(data_dir, addresses);
    Ok(())
}

/// Removes `dev.json`; that it is gone already is fine.
pub fn withdraw(data_dir: &DataDir) {
    if let Err(error) = fs::remove_file(data_dir.ready_file())
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "dev.json is left behind");
    }
}

fn print(data_dir: &DataDir, addresses: &Addresses) {
    let Addresses { broker, governor, http } = addresses;
    // Clients find the defaults by themselves.
    let elsewhere = broker != "http://127.0.0.1:7070" || governor != "http://127.0.0.1:7080";
    let export = if elsewhere {
        format!("export ASYNCFLOW_BROKER={broker} ASYNCFLOW_GOVERNOR={governor}\n      ")
    } else {
        String::new()
    };
    crate::tell(&format!(
        "asyncflow is ready\n  \
         broker    {broker}\n  \
         governor  {governor}\n  \
         metrics   {http}/metrics\n  \
         data      {}\n\n\
         try:  {export}asyncflow run -- echo hello\n      \
         asyncflow task list\n\n\
         Ctrl-C stops it; what is there stays there",
        data_dir.path().display()
    ));
}
