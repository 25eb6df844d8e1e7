import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

export interface CredentialOptions {
  // allowCleartext sends the credential without TLS to other machines, too.
  allowCleartext?: boolean;
}

// authorized is an interceptor for a transport. It sends what value returns as the
// header Authorization, and nothing if that is empty. It asks before each call, so that
// a token may be renewed.
//
// Without TLS a credential goes to this machine only. Any other call ends with
// FAILED_PRECONDITION before it is sent, and is not repeated.
export function authorized(value: () => string | Promise<string>, options: CredentialOptions = {}): Interceptor {
  return (next) => async (req) => {
    const credential = await value();
    if (credential === "") return next(req);
    if (!options.allowCleartext && isCleartext(req.url)) {
      const { host } = new URL(req.url);
      throw new ConnectError(`${host}: Authorization is not sent in the clear: it needs https, or an address of this machine`, Code.FailedPrecondition);
    }
    req.header.set("Authorization", credential);
    return next(req);
  };
}

// bearer is the value of Authorization for a token.
export function bearer(token: string): string {
  return `Bearer ${token}`;
}

// basic is the value of Authorization for a user's password.
export function basic(user: string, password: string): string {
  if (user.includes(":")) throw new TypeError("the name of a user has no colon");
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

// isCleartext says whether others could read what is sent to a URL.
function isCleartext(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol !== "https:" && !/^(localhost\.?|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
