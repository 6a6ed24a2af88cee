/**
 * Runs tasks by handlers written in Java.
 *
 * <p>A {@link io.asyncflow.worker.Worker} holds a lease from the moment a task is handed out until
 * the broker has confirmed how the attempt ended. The broker decides about every write; what is
 * kept here is only a hint.
 *
 * <p>A {@link io.asyncflow.worker.Handler} runs in a thread of its own, which is interrupted when
 * the attempt should stop: {@link io.asyncflow.worker.Attempt#stopReason} says why. An exception
 * after that is taken as the consequence: a cancelled task is CANCELLED, a task of a worker that
 * shuts down goes to another one. Before that an exception fails the attempt, and the task is tried
 * again by its retry policy; {@link io.asyncflow.worker.RetryLaterException} asks for a wait,
 * {@link io.asyncflow.worker.PermanentException} says that trying again cannot help.
 *
 * <p>A thread cannot be ended from outside. A handler that goes on for longer than the grace after
 * it was told to stop is given up: the broker is told, its writes are refused, but its slot stays
 * taken until it returns.
 */
package io.asyncflow.worker;
