package io.asyncflow;

import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.function.Function;

/** All that a list answers, page by page as they are asked for. */
final class Pages<T> implements Iterator<T> {
    /** A page and the token of the next; empty on the last. */
    record Page<T>(List<T> entries, String next) {}

    private final Function<String, Page<T>> read;
    private final Queue<T> ready = new ArrayDeque<>();
    private String token;

    Pages(String token, Function<String, Page<T>> read) {
        this.token = token;
        this.read = read;
    }

    @Override
    public boolean hasNext() {
        while (ready.isEmpty() && token != null) {
            Page<T> page = read.apply(token);
            ready.addAll(page.entries());
            token = page.next().isEmpty() ? null : page.next();
        }
        return !ready.isEmpty();
    }

    @Override
    public T next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return ready.remove();
    }
}
