// Where the broker is and who the caller is: what is given, else the environment.

import { readFileSync } from "node:fs";
import { ConfigError } from "./error.js";

/** How a broker is reached. What is left out comes from the environment. */
export interface ConnectionOptions {
  /**
   * `http://host:port`, or `https://host:port` for TLS. Default: `ASYNCFLOW_BROKER`, else a broker
   * on this machine, `http://127.0.0.1:7070`.
   */
  address?: string;
  /** Sent as `authorization: Bearer …`. Default: `ASYNCFLOW_TOKEN`. */
  token?: string;
  /** A file that holds the token. Default: `ASYNCFLOW_TOKEN_FILE`. */
  tokenFile?: string;
  /**
   * PEM file of the authority that signed the broker's certificate. Default: `ASYNCFLOW_CA_FILE`,
   * else the well-known authorities.
   */
  caFile?: string;
}

/** What is in force. */
export interface Settings {
  address: string;
  token: string | undefined;
  ca: string | undefined;
}

const DEFAULT_ADDRESS = "http://127.0.0.1:7070";
// A header takes no others.
const SENDABLE = /^[\x21-\x7e]+$/;

/**
 * Puts together what is given and what the environment says.
 *
 * @throws ConfigError for a bad address, or a file that cannot be read.
 */
export function resolveSettings(
  given: ConnectionOptions = {},
  environment: Record<string, string | undefined> = process.env,
): Settings {
  // An empty variable is as good as none.
  const from = (name: string): string | undefined => environment[name] ?? undefined;
  const address = checkedAddress(given.address ?? (from("ASYNCFLOW_BROKER") || DEFAULT_ADDRESS));
  const caFile = given.caFile ?? (from("ASYNCFLOW_CA_FILE") || undefined);
  return {
    address,
    token: sendable(givenToken(given, from)),
    ca: caFile === undefined ? undefined : read(caFile, "CA file"),
  };
}

function givenToken(
  given: ConnectionOptions,
  from: (name: string) => string | undefined,
): string | undefined {
  if (given.token !== undefined) return given.token;
  if (given.tokenFile !== undefined) return read(given.tokenFile, "token file");
  const token = from("ASYNCFLOW_TOKEN");
  if (token) return token;
  const file = from("ASYNCFLOW_TOKEN_FILE");
  return file ? read(file, "token file") : undefined;
}

function checkedAddress(address: string): string {
  const wrong = `address ${JSON.stringify(address)}: it must be http://host:port or ` +
    "https://host:port; give it as `address` or in ASYNCFLOW_BROKER";
  if (!/^https?:\/\//.test(address) || !URL.canParse(address)) throw new ConfigError(wrong);
  const url = new URL(address);
  const isBare = url.pathname === "/" && !url.search && !url.hash && !url.username;
  if (!isBare) throw new ConfigError(wrong);
  return url.origin;
}

function sendable(token: string | undefined): string | undefined {
  const trimmed = token?.trim();
  if (!trimmed) return undefined;
  if (!SENDABLE.test(trimmed)) {
    throw new ConfigError("the token has characters that cannot be sent in a header");
  }
  return trimmed;
}

function read(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`cannot read the ${what}: ${(error as Error).message}`);
  }
}
