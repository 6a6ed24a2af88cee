package io.asyncflow;

/**
 * One field of a request that was refused.
 *
 * @param field its path, e.g. {@code task.retry.max_retries}
 * @param description what is wrong with it
 */
public record Violation(String field, String description) {}
