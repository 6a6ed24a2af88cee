/** What client and worker share. No part of the API: it changes without notice. */
package io.asyncflow.internal;
