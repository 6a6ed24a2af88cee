/**
 * The client of asyncflow: creates tasks, follows them, and reads their results.
 *
 * <p>{@link io.asyncflow.Client} waits for its answers, {@link io.asyncflow.AsyncClient} gives
 * futures. Messages and bare stubs are in {@code io.asyncflow.v1}, the worker in
 * {@link io.asyncflow.worker}. Every error is an {@link io.asyncflow.AsyncflowException}.
 */
package io.asyncflow;
