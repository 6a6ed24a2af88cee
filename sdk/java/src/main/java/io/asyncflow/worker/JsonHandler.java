package io.asyncflow.worker;

/** A handler whose payload and result are JSON. */
@FunctionalInterface
public interface JsonHandler<I, O> {
    /**
     * Does the work.
     *
     * @param payload null when the task has none
     * @return the result; null for none
     * @throws Exception the attempt has failed, see the package
     */
    O handle(Attempt attempt, I payload) throws Exception;
}
