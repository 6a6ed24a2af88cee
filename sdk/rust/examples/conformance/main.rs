//! Plays the scenarios of `sdk/conformance` with this SDK; `sdk/conformance/README.md` says what
//! they mean, and `sdk/rust/conformance.sh` runs it.

mod handlers;
mod player;
mod proto_json;
mod story;
mod watching;

use std::{env, fs, process::ExitCode};

use serde_json::{Value, json};

use crate::{player::Player, story::Trouble};

/// Plays one scenario; what is to be printed of it.
async fn play(scenario: &Value) -> Result<Value, Trouble> {
    let name = &scenario["name"];
    let mut player = Player::new(scenario)?;
    let mut number = 0;
    let played = async {
        player.make_types(&scenario["types"]).await?;
        for (index, step) in scenario["steps"].as_array().into_iter().flatten().enumerate() {
            number = index;
            story::play_step(&mut player, step).await?;
        }
        Ok::<_, Trouble>(())
    }
    .await;
    player.close().await;
    Ok(match played {
        Ok(()) => json!({"scenario": name, "ok": true}),
        Err(trouble) => {
            json!({"scenario": name, "ok": false, "step": number, "message": trouble.to_string()})
        }
    })
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut well = true;
    for path in env::args().skip(1) {
        let scenario: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let result = play(&scenario).await?;
        well &= result["ok"] == true;
        println!("{result}");
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
