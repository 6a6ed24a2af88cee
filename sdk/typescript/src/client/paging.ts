// Lists that are read page by page, as they are asked for.

interface Page {
  nextPageToken: string;
}

/** All entries of all pages; the next page is asked for when the last entry was taken. */
export async function* paged<P extends Page, T>(
  ask: (pageToken: string) => Promise<P>,
  entries: (page: P) => T[],
): AsyncGenerator<T, void, undefined> {
  let pageToken = "";
  do {
    const page = await ask(pageToken);
    yield* entries(page);
    pageToken = page.nextPageToken;
  } while (pageToken);
}

/** All of it at once. */
export async function collected<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}
