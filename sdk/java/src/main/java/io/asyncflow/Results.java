package io.asyncflow;

import java.util.Iterator;

/**
 * What a stream gives, one after the other, for one thread; {@code hasNext} waits. To be closed,
 * which another thread may do: {@code hasNext} gives false then. Both methods throw an
 * {@link AsyncflowException} when the stream has failed.
 */
public interface Results<T> extends Iterator<T>, AutoCloseable {
    /** Ends the stream. */
    @Override
    void close();
}
