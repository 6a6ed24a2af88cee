package io.asyncflow.worker;

import io.asyncflow.v1.Content;

/** Works on one attempt at a task; called in a thread of its own, many at a time. */
@FunctionalInterface
public interface Handler {
    /**
     * Does the work.
     *
     * @return the result, at most 64 KiB; null for none
     * @throws Exception the attempt has failed, see the package
     */
    Content handle(Attempt attempt) throws Exception;
}
