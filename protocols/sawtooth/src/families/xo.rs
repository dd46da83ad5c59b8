//! `xo` 1.0: tic-tac-toe. A payload is `name,action,space`; a row is games joined by `|`, each `name,board,state,player1,player2`.

use std::collections::BTreeMap;

use super::{Call, Facts, Invalid, hashed_address, invalid};
use crate::address::Address;

const NAMESPACE: [u8; 3] = [0x5b, 0x73, 0x49];
const LINES: [[usize; 3]; 8] = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];

/// Where a game is.
pub fn address(name: &str) -> Address {
    hashed_address(NAMESPACE, name.as_bytes(), false)
}

pub fn apply(call: &mut Call<'_>, _facts: &Facts) -> Result<(), Invalid> {
    let (name, action) = decode_payload(call.payload)?;
    let address = address(&name);
    let mut games = match call.get_value(&address)? {
        Some(row) => decode(&row).ok_or_else(|| Invalid("Failed to deserialize game data".into()))?,
        None => BTreeMap::new(),
    };
    match action {
        Action::Create => {
            if games.contains_key(&name) {
                return invalid(format!("Invalid action: Game already exists: {name}"));
            }
            games.insert(name, Game::default());
        }
        Action::Delete => {
            games.remove(&name).ok_or_else(|| Invalid("Invalid action: game does not exist".into()))?;
        }
        Action::Take { space } => {
            let game = games.get_mut(&name);
            let game = game.ok_or_else(|| Invalid("Invalid action: Take requires an existing game".into()))?;
            game.take(space - 1, &call.header.signer_public_key)?;
        }
    }
    match games.is_empty() {
        true => call.delete(&address),
        false => call.set(&address, encode(&games)),
    }
}

enum Action {
    Create,
    Delete,
    /// 1 to 9.
    Take {
        space: usize,
    },
}

/// The game's name, and what is to be done.
fn decode_payload(payload: &[u8]) -> Result<(String, Action), Invalid> {
    let text = std::str::from_utf8(payload).map_err(|_| Invalid("Invalid payload serialization".into()))?;
    let fields: Vec<&str> = text.split(',').collect();
    let [name, action, space] = fields[..] else { return invalid("Invalid payload serialization") };
    match name {
        "" => return invalid("Name is required"),
        _ if name.contains('|') => return invalid("Name cannot contain \"|\""),
        _ => {}
    }
    let action = match action {
        "create" => Action::Create,
        "delete" => Action::Delete,
        "take" => {
            let space = space.trim().parse().ok().filter(|space| (1..=9).contains(space));
            Action::Take { space: space.ok_or_else(|| Invalid("Space must be an integer from 1 to 9".into()))? }
        }
        "" => return invalid("Action is required"),
        _ => return invalid(format!("Invalid action: {action}")),
    };
    Ok((name.to_owned(), action))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Game {
    board: [u8; 9],
    state: String,
    players: [String; 2],
}

impl Default for Game {
    fn default() -> Self {
        Self { board: [b'-'; 9], state: "P1-NEXT".into(), players: [String::new(), String::new()] }
    }
}

impl Game {
    fn take(&mut self, space: usize, signer: &str) -> Result<(), Invalid> {
        let turn = match self.state.as_str() {
            "P1-NEXT" => 0,
            "P2-NEXT" => 1,
            _ => return invalid("Invalid Action: Game has ended"),
        };
        if !self.players[turn].is_empty() && self.players[turn] != signer {
            let who: String = signer.chars().take(6).collect();
            return invalid(format!("Not this player's turn: {who}"));
        }
        if self.board[space] != b'-' {
            return invalid(format!("Invalid Action: space {} already taken", space + 1));
        }
        if let Some(player) = self.players.iter_mut().find(|player| player.is_empty()) {
            signer.clone_into(player);
        }
        self.board[space] = [b'X', b'O'][turn];
        let won = |mark| LINES.iter().any(|line| line.iter().all(|place| self.board[*place] == mark));
        let state = match () {
            () if won(b'X') => "P1-WIN",
            () if won(b'O') => "P2-WIN",
            () if !self.board.contains(&b'-') => "TIE",
            () => ["P2-NEXT", "P1-NEXT"][turn],
        };
        state.clone_into(&mut self.state);
        Ok(())
    }
}

fn decode(row: &[u8]) -> Option<BTreeMap<String, Game>> {
    let game = |text: &str| {
        let fields: Vec<&str> = text.split(',').collect();
        let [name, board, state, one, two] = fields[..] else { return None };
        let players = [one.to_owned(), two.to_owned()];
        Some((name.to_owned(), Game { board: board.as_bytes().try_into().ok()?, state: state.to_owned(), players }))
    };
    std::str::from_utf8(row).ok()?.split('|').map(game).collect()
}

fn encode(games: &BTreeMap<String, Game>) -> Vec<u8> {
    let game = |(name, game): (&String, &Game)| {
        let board = String::from_utf8_lossy(&game.board);
        format!("{name},{board},{},{},{}", game.state, game.players[0], game.players[1])
    };
    let mut games: Vec<_> = games.iter().map(game).collect();
    games.sort();
    games.join("|").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn send(world: &mut World, who: &str, payload: &str) -> Result<(), String> {
        world.apply(apply, who, payload.as_bytes().to_vec()).map(drop)
    }

    fn row(world: &World, name: &str) -> String {
        String::from_utf8(world.0[&address(name)].to_vec()).unwrap()
    }

    #[test]
    fn a_game_is_where_the_original_puts_it() {
        let foo = "5b7349f7fbba6e0636f890e56fbbf3283e524c6fa3204ae298382d624741d0dc663832";
        assert_eq!(address("foo").to_hex(), foo);
    }

    #[test]
    fn a_game_is_played_to_its_end_by_two() {
        let mut world = World::default();
        send(&mut world, "alice", "g,create,").unwrap();
        assert_eq!(row(&world, "g"), "g,---------,P1-NEXT,,");
        assert!(send(&mut world, "alice", "g,create,").is_err());
        for (who, space) in [("alice", 1), ("bob", 4), ("alice", 2)] {
            send(&mut world, who, &format!("g,take,{space}")).unwrap();
        }
        assert_eq!(send(&mut world, "alice", "g,take,3"), Err("Not this player's turn: alice".into()));
        assert_eq!(send(&mut world, "bob", "g,take,4"), Err("Invalid Action: space 4 already taken".into()));
        send(&mut world, "bob", "g,take,5").unwrap();
        send(&mut world, "alice", "g,take,3").unwrap();
        assert_eq!(row(&world, "g"), "g,XXXOO----,P1-WIN,alice,bob");
        assert_eq!(send(&mut world, "bob", "g,take,6"), Err("Invalid Action: Game has ended".into()));
        send(&mut world, "bob", "g,delete,").unwrap();
        assert!(world.0.is_empty());
    }

    #[test]
    fn what_is_no_move_is_invalid() {
        let mut world = World::default();
        send(&mut world, "alice", "g,create,").unwrap();
        for payload in
            ["", "g", "g,take", ",create,", "g|h,create,", "g,,", "g,jump,1", "g,take,0", "g,take,10", "h,take,1"]
        {
            assert!(send(&mut world, "alice", payload).is_err(), "{payload}");
        }
    }
}
